// A sale as its customer reads it. Whatever the digest covers is shown: the large
// things at once, the rest under details.
import { h, isolate } from "../dom.js";
import { count, decimal, moment, percent, plainDay } from "../format.js";
import { t } from "../i18n.js";
import { heading, sum } from "./parts.js";

// purchase reports whether the total is what is paid; else it is the most that may be.
const purchase = ({ sale }) => sale.kind === "purchase";

// slip is a payment as a slip of paper, with the time that is left for it.
export const slip = (s, time) => h("div.sheet.slip", {}, shop(s), total(s), foreign(s),
  h("dl.match", {}, h("dt", {}, t("number")), h("dd", { dir: "ltr" }, s.number)), time.place, items(s), details(s));

const shop = ({ sale }) => heading(isolate(sale.shop), { class: "shop" });

const total = (s) => h("p.total", {}, h("span.label", {}, t(purchase(s) ? "total" : "at_most")), " ", h("strong", {}, sum(s.sale.total)));

export function foreign({ sale }) {
  if (!sale.foreign) return null;
  const { total: own, rate, date } = sale.foreign;
  return h("p.foreign", {},
    h("span.label", {}, t("from_account")), " ", h("strong", {}, sum(own)),
    h("span.soft", {}, h("bdi", { dir: "ltr" }, `1 ${sale.total.currency} = ${decimal(rate)} ${own.currency}`)), h("span.soft", {}, t("rate_of", { date: plainDay(date) })));
}

export function items({ sale }) {
  if (!sale.items?.length) return h("p.soft", {}, t("no_items"));
  const price = (value) => sum({ value, currency: sale.total.currency });
  return h("table.items", {}, h("caption.unseen", {}, t("items")),
    h("thead.unseen", {}, h("tr", {}, h("th", { scope: "col" }, t("item")), h("th", { scope: "col" }, t("sum")))),
    h("tbody", {}, sale.items.map((i) => h("tr", {},
      h("th", { scope: "row" }, isolate(i.name), h("span.soft", { dir: "ltr" }, `${count(i.quantity)} × `, price(i.price))),
      h("td", {}, price(i.quantity * i.price))))));
}

export function details({ sale, rrn, approval_code }) {
  const row = (name, value) => value ? h("div", {}, h("dt", {}, name), h("dd", {}, isolate(value))) : null;
  const codes = (sale.items ?? []).filter((i) => i.code || i.tax >= 0);
  return h("details", {}, h("summary", {}, t("details")), h("dl.rows", {},
    row(t("time"), moment(sale.time)), row(t("account"), sale.customer), row(t("merchant"), sale.merchant), row(t("terminal"), sale.terminal),
    row(t("reference"), sale.reference), row(t("payment"), sale.id), row(t("rrn"), rrn), row(t("approval_code"), approval_code),
    codes.map((i) => row(i.name, [i.code, i.tax >= 0 && t("tax", { rate: percent(i.tax) })].filter(Boolean).join(" · ")))));
}
