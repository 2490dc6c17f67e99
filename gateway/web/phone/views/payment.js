// One payment: what is bought, until when, and the customer's word.
//
// Nothing here is worked out: it shows what the shop sent, and signs the digest of
// just that (proof.js). What it showed and what became of it stay on one page.
import * as api from "../api.js";
import { h, icon, say } from "../dom.js";
import { left } from "../format.js";
import { t } from "../i18n.js";
import * as passkey from "../passkey.js";
import { approveByPasskey, approveByPassword, digest } from "../proof.js";
import * as sales from "../sales.js";
import { password, reason, trouble, user, working } from "./parts.js";
import { outcome } from "./outcome.js";
import { details, foreign, items, shop, total } from "./shown.js";

export default async function (app, id) {
  const shown = await api.get("sales/" + id);
  const body = h("section.pay", {});
  if (shown.status !== "waiting") {
    body.append(...outcome(shown));
    return { title: body.querySelector("h1").textContent, body, alone: true };
  }
  // Not signed: another sale than was asked for, one of another customer, or one
  // that is not what the gateway says it is.
  const whole = shown.sale.id === id && shown.sale.customer === app.session.customer.id && await digest(shown);
  return { title: shown.sale.shop, body, alone: true, stop: wait(shown, whole, body) };
}

// wait shows a payment that waits, and what became of it when it waits no more. It
// gives what ends the watching.
function wait(shown, whole, body) {
  const { id } = shown.sale;
  const time = countdown(shown);
  const others = h("p.others", { hidden: true });
  const form = agreement(shown, whole, settle, look);
  form.append(others);
  body.append(h("div.sheet.slip", {}, shop(shown), total(shown), foreign(shown),
    h("dl.match", {}, h("dt", {}, t("number")), h("dd", { dir: "ltr" }, shown.number)),
    time.place, items(shown), details(shown)), form);

  function settle(ended) {
    stop();
    body.replaceChildren(...outcome(ended));
    const title = body.querySelector("h1");
    document.title = `${title.textContent} – Kessai`;
    title.focus();
    sales.refresh();
  }

  // look asks what became of the payment, which may have ended elsewhere. Where that
  // cannot be heard now, it will be asked again.
  let asking = false;
  async function look() {
    const busy = () => form.hasAttribute("aria-busy");
    if (asking || busy()) return;
    asking = true;
    const now = await api.get("sales/" + id).catch(() => shown);
    asking = false;
    if (form.isConnected && !busy() && now.status !== "waiting") settle(now);
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
  const stop = () => { deaf(); clearInterval(clock); };
  hear();
  return stop;
}

// agreement is the form in which the customer agrees or cancels. Whatever the
// gateway answers, what is signed is what was shown at first.
function agreement(shown, whole, settle, look) {
  const { id, customer, kind } = shown.sale;
  const wrong = trouble();
  const secret = password("password", t("password"));
  const byPassword = h("div.stack", {}, user(customer), secret.place, h("button", { type: "submit" }, t(kind === "purchase" ? "pay" : "reserve")));
  const byPasskey = h("button.main", { type: "button", onclick: () => prove(() => approveByPasskey(shown)) }, icon("passkey"), t("pay_passkey"));
  const ways = h("div.stack", {});
  const offer = (factors = []) => {
    const can = { password: factors.includes("password"), passkey: factors.includes("passkey") && passkey.possible() };
    byPassword.querySelector("[type=submit]").className = can.passkey ? "second" : "main";
    ways.replaceChildren(...[
      can.passkey && byPasskey, can.passkey && can.password && h("p.or", {}, h("span", {}, t("or"))), can.password && byPassword,
      !can.password && h("p.hint", {}, t("locked_text")),
    ].filter(Boolean));
  };
  offer(shown.factors);

  const prove = async (f) => {
    wrong.clear();
    try {
      const answer = await working(form, f);
      if (answer.sale.status !== "waiting") return settle(answer.sale);
      wrong.show(answer.outcome === "locked" ? t("locked_text") : t("wrong_password") + " " + t("tries_left", { n: answer.sale.tries_left }));
      offer(answer.sale.factors);
    } catch (e) {
      wrong.show(reason(e));
    }
    (secret.input.isConnected ? secret.input : form.querySelector("button")).focus();
    look();
  };
  const form = h("form.sheet.agree", {
    onsubmit(e) {
      e.preventDefault();
      const text = secret.take();
      if (whole && text) prove(() => approveByPassword(shown, customer, text));
    },
  }, whole ? [ways, wrong.place] : h("p.trouble", { role: "alert" }, t("problem_other_digest")),
  h("button.quiet", { type: "button", onclick: () => prove(() => api.post(`sales/${id}/cancel`)) }, t("cancel_payment")));
  return form;
}

// countdown runs by the gateway's clock, and is read out twice near the end only.
function countdown({ sale, deadline }) {
  const end = Date.parse(deadline);
  const whole = end - Date.parse(sale.time);
  const text = h("span", { dir: "ltr" });
  const progress = h("progress", { max: "1", "aria-label": t("time_left") });
  const place = h("div.time", {}, icon("clock"), h("span", { role: "timer" }, t("time_left"), " ", text), progress);
  const warnings = [30_000, 10_000];
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
  tick();
  return { place, tick };
}
