// One payment that is made with a card, in the reader that hangs on this phone: the
// customer's word, and then what the reader is waiting for.
//
// A sale has one try. What the reader gives up is cancelled; a cable that comes out, a
// connection that breaks and a page that is loaded again change nothing.
import * as api from "../api.js";
import { h, icon, isolate } from "../dom.js";
import { t } from "../i18n.js";
import { kinds, usual } from "../link.js";
import { approveByReader } from "../proof.js";
import { finish, plug, ReaderError } from "../reader.js";
import * as sales from "../sales.js";
import { kind, outcome } from "./outcome.js";
import { cables, heading, reason, sum, trouble } from "./parts.js";
import { details, foreign, items, slip } from "./shown.js";
import { countdown, watch } from "./waiting.js";

// tethered shows a payment with a card reader until it is over or what it gives is
// called. whole: it is just what the customer would sign.
export async function tethered(shown, whole, body) {
  const { id, time: began } = shown.sale;
  const path = `sales/${id}`;
  const off = new AbortController();
  const { signal } = off;
  const wrong = trouble();
  const cable = cables(await usual());
  let now = whole ? await api.get(path + "/reader") : { step: "approve" };
  let sending = 0, note, ended, reader;

  const time = countdown(Date.parse(began), now.until ?? shown.deadline);
  const watched = watch(shown, body, {
    time, busy: () => sending > 0,
    over(sale) { ended = sale; off.abort(); return note; },
  });
  const stop = () => { watched.stop(); off.abort(); reader?.close(); };
  if (now.step === "ended") {
    stop();
    body.append(...outcome(now.sale));
    return stop;
  }

  // send is for what the gateway's answer will tell the end of.
  const send = async (f) => {
    sending++;
    try {
      return await f();
    } finally {
      sending--;
    }
  };

  // run plugs the reader in and goes on with it from where the payment stands.
  async function run(choose) {
    wrong.clear();
    body.lastChild.setAttribute("aria-busy", "true"); // until something else is drawn
    for (const b of body.querySelectorAll("button")) b.disabled = true;
    let mine;
    try {
      mine = reader = await plug(cable.kind(), choose, signal);
      signal.throwIfAborted();
      if (!mine.enrolled) throw new ReaderError("not_enrolled");
      if (now.step === "approve") now = await send(() => approveByReader(shown, mine.id));
      now = await finish(id, now, mine, { tell, left: (at) => Date.parse(at.until) - sales.now(), signal });
      if (now.step === "ended") watched.settle(now.sale);
      else draw(now.step);
    } catch (e) {
      if (!signal.aborted) await stuck(e);
    } finally {
      if (ended) await mine?.end(ended.told.code, kind(ended) === "approved");
      await mine?.close();
    }
  }

  // stuck says why it does not go on. The customer can go on or cancel, unless the
  // reader has given it up.
  async function stuck(e) {
    if (e.over) {
      note = reason(e);
      return cancel();
    }
    now = await api.get(path + "/reader").catch(() => now);
    if (now.step === "ended") return watched.settle(now.sale);
    if (now.until) time.set(sales.now(), now.until);
    draw(now.step, e);
    wrong.show(reason(e));
  }

  const cancel = () => send(async () => {
    try {
      watched.settle((await api.post(path + "/cancel")).sale);
    } catch (e) {
      draw(now.step, e);
      wrong.show(reason(e));
    }
  });

  const tell = (at) => {
    if (at.until) time.set(sales.now(), at.until);
    draw(at.step);
  };

  // draw shows a step. fault is why it does not go on by itself.
  let drawn;
  function draw(step, fault) {
    if (signal.aborted) return;
    const focused = step !== drawn || document.activeElement === document.body || body.contains(document.activeElement);
    drawn = step;
    const running = fault === undefined && step !== "approve";
    const ways = [
      step === "approve" && cable.place,
      wrong.place,
      whole && !running && kinds().length > 0 && connect(step, fault),
      h("button.quiet", { type: "button", onclick: cancel }, t("cancel_payment")),
      watched.others,
    ];
    const inner = step === "approve" ? [slip(shown, time), h("div.sheet.agree.stack", {}, whole ? ask() : refused(), ways)]
      : [panel(shown, step, time, ways), h("div.sheet.slip", {}, foreign(shown), items(shown), details(shown))];
    body.replaceChildren(...inner);
    if (!body.isConnected) return; // whoever shows it sees to the rest
    const title = body.querySelector("h1");
    document.title = `${title.textContent} – Kessai`;
    if (focused) title.focus();
  }

  const connect = (step, fault) => h("div.stack", {},
    h("button.main", { type: "button", onclick: () => run(true) }, icon("reader"), t(step === "approve" ? "pay_reader" : fault?.code === "reader_card_unreadable" ? "again" : "reader_connect")),
    fault && cable.kind() !== "demo" && h("button.second", { type: "button", onclick: () => run("another") }, t("reader_another")),
    fault && enrols.includes(fault.code) && h("a.second", { href: "#/readers" }, t("reader_add")));

  draw(now.step, null);
  watched.hear();
  if (whole && now.step !== "approve") run(false);
  return stop;
}

// What is helped by enrolling the reader.
const enrols = ["reader_not_enrolled", "reader_refused", "reader_bad_offer"];

const ask = () => h("p.hint", {}, t(kinds().length ? "reader_text" : "reader_impossible"));
const refused = () => h("p.trouble", { role: "alert" }, t("problem_other_digest"));

// What each step looks like, and where in the row of steps it is.
const steps = {
  card: { sign: "card", at: 1 }, card_sent: { sign: "clock", at: 1 }, pin: { sign: "pad", at: 2 }, pin_sent: { sign: "clock", at: 2 },
};
const row = ["step_agreed", "step_card", "step_pin", "step_paid"];

function panel({ sale }, step, time, ways) {
  const { sign, at } = steps[step];
  return h("div.outcome.calm.reading", {},
    h("div.seal", {}, icon(sign)),
    heading(t("reader_" + step)),
    h("p", {}, t(`reader_${step}_text`)),
    h("p.sum", {}, sum(sale.total)),
    h("p.shop", {}, isolate(sale.shop)),
    h("ol.steps", { "aria-label": t("steps") }, row.map((name, i) => h("li", { "aria-current": i === at ? "step" : null, class: i < at ? "past" : null },
      h("span", {}, t(name))))),
    time.place,
    h("div.stack", {}, ways));
}
