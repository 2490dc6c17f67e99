// The card readers that may hang on this customer's phones: which there are, and how
// one is added. Its code is typed on the reader itself, and this phone never sees it.
import * as api from "../api.js";
import { h, icon, say } from "../dom.js";
import { day } from "../format.js";
import { t } from "../i18n.js";
import { kinds, usual } from "../link.js";
import { plug } from "../reader.js";
import { cables, entry, heading, part, reason, trouble } from "./parts.js";

export default async function () {
  let { readers } = await api.get("readers");
  const list = h("ul.things", {});
  const none = h("p.soft", {}, t("readers_none"));
  const take = async ({ id }) => {
    await api.remove("readers/" + id);
    readers = readers.filter((r) => r.id !== id);
    none.hidden = readers.length > 0;
  };
  const fill = (all) => {
    readers = all;
    list.replaceChildren(...all.map((r) => entry(r.name, t("added", { date: day(r.added_at) }), t("reader_question", { name: r.name }), () => take(r))));
    none.hidden = all.length > 0;
  };
  fill(readers);
  const off = new AbortController();
  return {
    title: t("readers"), alone: true, from: "settings", stop: () => off.abort(),
    body: h("section", {}, heading(t("readers")), h("p.soft", {}, t("readers_text")),
      part("readers_list", none, list), await adding(fill, off.signal)),
  };
}

// adding is how a reader is added: plugged in, told to ask for its code, and made
// known to the gateway.
async function adding(fill, signal) {
  if (!kinds().length) return part("reader_add", h("p.soft", {}, t("reader_impossible")));
  const wrong = trouble();
  const cable = cables(await usual());
  const now = h("p.strip.now", { hidden: true });
  const tell = (text = "") => { now.hidden = !text; now.textContent = text; say(text); };
  const buttons = () => body.querySelectorAll("button, input");

  const add = async (choose) => {
    wrong.clear();
    for (const b of buttons()) b.disabled = true;
    let reader;
    try {
      reader = await plug(cable.kind(), choose, signal);
      tell(t("reader_type_code", { name: reader.name }));
      const enrol = await reader.enrol(signal);
      tell(t("reader_checking"));
      const answer = await api.post("readers", { enrol });
      fill((await api.get("readers")).readers);
      await reader.trust(answer.enrolled);
      say(t("reader_added", { name: answer.reader.name }));
    } catch (e) {
      if (e instanceof api.Problem) await reader?.end("17", false); // it waits for an answer that does not come
      if (!signal.aborted) wrong.show(e.code === "reader_refused" ? t("reader_code_wrong") : reason(e));
    } finally {
      await reader?.close();
      now.hidden = true;
      for (const b of buttons()) b.disabled = false;
      if (body.isConnected) body.querySelector("button").focus();
    }
  };
  const body = part("reader_add",
    h("ol.how", {}, ["reader_how_code", "reader_how_plug", "reader_how_type"].map((key) => h("li", {}, t(key)))),
    cable.place, now, wrong.place,
    h("button.main", { type: "button", onclick: () => add(true) }, icon("reader"), t("reader_plug")),
    cable.kind() !== "demo" && h("button.second", { type: "button", onclick: () => add("another") }, t("reader_another")));
  return body;
}
