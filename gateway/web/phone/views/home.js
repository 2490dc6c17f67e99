// What waits for this phone: nothing, one payment (which is opened) or several.
import { h, icon, isolate } from "../dom.js";
import { left } from "../format.js";
import { t } from "../i18n.js";
import * as sales from "../sales.js";
import { heading, sum } from "./parts.js";

// A payment that waits alone is opened by itself, but once only: whoever goes
// back from it means to.
const opened = new Set();

export default async function (app) {
  const body = h("section", {});
  let shown;
  const draw = () => {
    const list = sales.waiting();
    const fresh = list.filter((s) => !opened.has(s.sale.id));
    for (const s of list) opened.add(s.sale.id);
    if (list.length === 1 && fresh.length === 1) app.go("pay/" + list[0].sale.id);
    const ids = list.map((s) => s.sale.id).join();
    if (ids === shown) return;
    const held = document.activeElement?.getAttribute?.("href");
    const focused = body.contains(document.activeElement);
    shown = ids;
    body.replaceChildren(...(list.length ? several(list) : none()));
    if (focused) (body.querySelector(`a[href="${held}"]`) ?? body.querySelector("h1")).focus();
    tick();
  };
  const tick = () => {
    for (const s of sales.waiting()) {
      const place = body.querySelector(`[data-left="${s.sale.id}"]`);
      if (place) place.textContent = left(Date.parse(s.deadline) - sales.now());
    }
  };
  draw();
  const deaf = sales.listen(draw);
  const timer = setInterval(tick, 500);
  return { title: t("home"), body, stop() { deaf(); clearInterval(timer); } };
}

const none = () => [h("div.empty", {}, h("div.seal", {}, icon("check")), heading(t("nothing")), h("p.soft", {}, t("nothing_text")),
  h("a.second", { href: "#/claim" }, icon("claim"), t("claim_title")))];

const several = (list) => [heading(t("waiting_n", { n: list.length })),
  h("ul.cards", {}, list.map((s) => h("li", {}, h("a.card", { href: "#/pay/" + s.sale.id },
    h("span.shop", {}, isolate(s.sale.shop)),
    h("span.sum", {}, sum(s.sale.total)),
    h("span.soft", {}, t("number_short"), " ", h("strong.number", {}, isolate(s.number))),
    h("span.soft", {}, icon("clock"), h("span.unseen", {}, t("time_left") + " "), h("span", { "data-left": s.sale.id, dir: "ltr" })))))),
];
