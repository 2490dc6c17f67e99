// What was paid before, and what was not.
import * as api from "../api.js";
import { h, isolate } from "../dom.js";
import { clock, day } from "../format.js";
import { t } from "../i18n.js";
import { heading, reason, sum, trouble, working } from "./parts.js";
import { kind } from "./outcome.js";

export default async function () {
  const list = h("div", {});
  const wrong = trouble();
  const more = h("button.second", { type: "button", onclick: () => working(body, () => add().catch((e) => wrong.show(reason(e)))) }, t("more"));
  const body = h("section", {}, heading(t("history")), list, wrong.place, more);
  let cursor = "", lastDay, ul;

  const add = async () => {
    wrong.clear();
    const page = await api.get("history" + (cursor ? "?cursor=" + encodeURIComponent(cursor) : ""));
    let first;
    for (const s of page.sales) {
      const date = day(s.sale.time);
      if (date !== lastDay) {
        ul = h("ul.rows", {});
        list.append(h("h2", {}, lastDay = date), ul);
      }
      const row = line(s);
      first ??= row;
      ul.append(row);
    }
    if (cursor) first?.querySelector("a").focus();
    cursor = page.next_cursor ?? "";
    more.hidden = !cursor;
  };
  await add();
  if (!list.firstChild) list.append(h("p.soft", {}, t("history_empty")));
  return { title: t("history"), body };
}

function line(s) {
  const what = kind(s);
  return h("li", {}, h("a", { href: "#/pay/" + s.sale.id, class: what === "approved" || what === "waiting" ? null : "void" },
    h("span.shop", {}, isolate(s.sale.shop)), h("span.sum", {}, sum(s.sale.foreign?.total ?? s.sale.total)),
    h("span.soft", {}, clock(s.sale.time)), h("span.state", {}, t("state_" + what))));
}
