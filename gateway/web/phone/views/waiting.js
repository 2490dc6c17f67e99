// What a payment that waits is watched by, however the customer agrees to it: the
// time that is left, and the news that it ended elsewhere.
import * as api from "../api.js";
import { h, icon, say } from "../dom.js";
import { left } from "../format.js";
import { t } from "../i18n.js";
import * as sales from "../sales.js";
import { outcome } from "./outcome.js";

// show puts what became of a payment into its place.
function show(ended, body, note) {
  body.replaceChildren(...outcome(ended, note));
  const title = body.querySelector("h1");
  document.title = `${title.textContent} – Kessai`;
  title.focus();
  sales.refresh();
}

// watch looks after a payment until it ends or stop is called. While busy says so, an
// answer that will tell is on its way. over is called with what became of it, and may
// give a sentence more to show with that.
export function watch(shown, body, { time, busy, over = () => {} }) {
  const { id } = shown.sale;
  const others = h("p.others", { hidden: true });
  let done = false;

  function settle(ended) {
    if (done) return;
    stop();
    show(ended, body, over(ended));
  }

  // look asks what became of the payment. Where that cannot be heard now, it will be
  // asked again.
  let asking = false;
  async function look() {
    if (done || asking || busy()) return;
    asking = true;
    const now = await api.get("sales/" + id).catch(() => shown);
    asking = false;
    if (body.isConnected && !busy() && now.status !== "waiting") settle(now);
  }

  const hear = () => {
    const list = sales.waiting();
    const n = list.filter((s) => s.sale.id !== id).length;
    others.hidden = n === 0;
    others.replaceChildren(h("a", { href: "#/" }, t("others_n", { n })));
    if (!list.some((s) => s.sale.id === id)) look();
  };
  const deaf = sales.listen(hear);
  const clock = setInterval(() => { if (time.tick() <= 0) look(); }, 500);
  const stop = () => { done = true; deaf(); clearInterval(clock); };
  return { others, hear, look, settle, stop };
}

// countdown runs by the gateway's clock, and is read out twice near the end only.
export function countdown(from, until) {
  let end, whole, warnings;
  const text = h("span", { dir: "ltr" });
  const progress = h("progress", { max: "1", "aria-label": t("time_left") });
  const place = h("div.time", {}, icon("clock"), h("span", { role: "timer" }, t("time_left"), " ", text), progress);
  const tick = () => {
    const ms = end - sales.now();
    text.textContent = left(ms);
    progress.value = Math.max(0, Math.min(1, ms / whole));
    place.classList.toggle("short", ms < 30_000);
    let warned;
    while (ms <= warnings[0]) warned = warnings.shift();
    if (warned && ms > 0) say(t("seconds_left", { n: Math.ceil(ms / 1000) }));
    return ms;
  };
  // set begins again: a payment with a card reader has a time for each step.
  const set = (from, until) => {
    end = Date.parse(until);
    whole = end - from;
    warnings = [30_000, 10_000].filter((ms) => ms < whole);
    tick();
  };
  set(from, until);
  return { place, tick, set, left: () => end - sales.now() };
}
