// A receipt as the shop's printer writes it.
import * as api from "../api.js";
import { h } from "../dom.js";
import { language, t } from "../i18n.js";
import { heading } from "./parts.js";

const wide = /[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]/;

// columns sets the characters that take two columns into boxes of two: few fonts
// of a phone make them just twice as wide as the others.
const columns = (text) => text.split(/([^\x00-\x7F])/).map((part) => (wide.test(part) ? h("span.wide", {}, part) : part));

export default async function (app, id) {
  const paper = h("pre.paper", { tabindex: "0", role: "region", "aria-label": t("receipt"), dir: "ltr" });
  const path = `receipts/${id}?lang=${language()}`;
  const print = async (n) => {
    paper.dataset.columns = n;
    paper.replaceChildren(...columns(await api.get(`${path}&columns=${n}`, { accept: "text/plain" })));
  };
  const choice = (n) => h("label", {}, h("input", { type: "radio", name: "columns", value: n, checked: n === 32, onchange: () => print(n) }), h("span", {}, t("columns_n", { n })));
  await print(32);
  return {
    title: t("receipt"), alone: true, from: "pay/" + id,
    body: h("section.receipt", {}, heading(t("receipt")), paper,
      h("fieldset.choice", {}, h("legend.unseen", {}, t("width")), choice(32), choice(42)),
      h("div.stack", {},
        h("button.main", { type: "button", onclick: () => window.print() }, t("print")),
        h("a.second", { href: "/phone/v1/" + path, target: "_blank", rel: "noopener" }, t("receipt_page")))),
  };
}
