// The customer's language: which it is, and what is said in it.
import { get, put } from "./keep.js";

export const languages = { en: "English", ja: "日本語", de: "Deutsch", ar: "العربية" };

let now = "en";
let words = {};
let rules = new Intl.PluralRules("en");

export const language = () => now;

// load takes the language that was chosen, or else the first of the browser's
// that is spoken here.
export async function load() {
  const wanted = [await get("lang"), ...navigator.languages.map((l) => l.slice(0, 2)), "en"];
  await speak(wanted.find((l) => l in languages));
}

export async function choose(lang) {
  await speak(lang);
  await put("lang", lang);
}

async function speak(lang) {
  words = (await import(`./i18n/${lang}.js`)).default;
  now = lang;
  rules = new Intl.PluralRules(lang);
  document.documentElement.lang = lang;
  document.documentElement.dir = lang === "ar" ? "rtl" : "ltr";
}

// t says something: t("tries_left", {n: 2}). What depends on a number is an
// object by plural form, chosen by n.
export function t(key, values = {}) {
  let text = words[key] ?? key;
  if (typeof text === "object") text = text[rules.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// known reports whether there are words for a key.
export const known = (key) => key in words;
