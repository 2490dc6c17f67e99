// Amounts, times and counts as the customer's language writes them.
import { language } from "./i18n.js";
import { decimalOf, exponentOf } from "./sale.js";

// Figures are 0 to 9 in Arabic too: they are compared with a terminal's display.
const locale = () => `${language()}-u-nu-latn`;

// money writes minor units: {value: 450, currency: "JPY"} is ¥450. The decimals are
// those of ISO 4217: Intl follows CLDR, which rounds some currencies as cash is.
export function money(amount) {
  const n = exponentOf(amount.currency);
  return new Intl.NumberFormat(locale(), {
    style: "currency", currency: amount.currency, minimumFractionDigits: n, maximumFractionDigits: n,
  }).format(decimalOf(amount));
}

export const count = (n) => new Intl.NumberFormat(locale()).format(n);
export const decimal = (text) => new Intl.NumberFormat(locale(), { maximumFractionDigits: 12 }).format(text);
export const percent = (basisPoints) =>
  new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: 2 }).format(basisPoints / 10000);

export const day = (date) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium" }).format(new Date(date));
// plainDay is for a date without a time, which has no time zone either.
export const plainDay = (text) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeZone: "UTC" }).format(new Date(text + "T00:00:00Z"));
export const clock = (date) => new Intl.DateTimeFormat(locale(), { timeStyle: "short" }).format(new Date(date));
export const moment = (date) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "medium" }).format(new Date(date));

// left writes milliseconds as 1:07.
export function left(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}
