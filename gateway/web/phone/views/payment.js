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
import { heading, password, reason, trouble, user, working } from "./parts.js";
import { outcome } from "./outcome.js";
import { details, foreign, items, shop, total } from "./shown.js";

export default async function (app, id) {
  let shown = await api.get("sales/" + id);
  const body = h("section.pay", {});
  const view = { title: shown.sale.shop, body, alone: true, stop: () => stop() };
  let stop = () => {};
  let busy = false;

  const settle = (s, first) => {
    shown = s;
    stop();
    stop = () => {};
    view.title = shown.sale.shop;
    body.replaceChildren(...outcome(shown));
    if (!first) {
      body.querySelector("h1").focus();
      sales.refresh();
    }
  };
  if (shown.status !== "waiting") {
    settle(shown, true);
    return view;
  }

  // Not signed: another sale than was asked for, one of another customer, or one
  // that is not what the gateway says it is.
  const agreed = shown.sale.id === id && shown.sale.customer === app.session.customer.id && await digest(shown);
  const wrong = trouble();
  const others = h("p.others", { hidden: true });
  const time = countdown(shown);

  // look asks what became of the payment; it may have ended elsewhere.
  const look = async () => {
    const now = await api.get("sales/" + id);
    if (busy || !body.isConnected) return;
    if (now.status !== "waiting") settle(now);
  };

  // prove runs one way of agreeing and shows what came of it.
  const prove = (f) => working(form, async () => {
    wrong.clear();
    busy = true;
    let answer;
    try {
      answer = await f();
    } catch (e) {
      wrong.show(reason(e));
      return;
    } finally {
      busy = false;
    }
    if (answer.sale.status !== "waiting") return settle(answer.sale);
    shown = answer.sale;
    wrong.show(answer.outcome === "locked" ? t("locked_text") : t("wrong_password") + " " + t("tries_left", { n: shown.tries_left }));
    methods();
  }).then(() => { if (body.contains(form)) { (secret.input.isConnected ? secret.input : form.querySelector("button"))?.focus(); look().catch(() => {}); } });

  const secret = password("password", t("password"));
  const byPassword = h("div.stack", {}, user(app.session.customer.id), secret.place,
    h("button", { type: "submit", class: "main" }, h("span", {}, t(shown.sale.kind === "purchase" ? "pay" : "reserve"))));
  const byPasskey = h("button.main", { type: "button", onclick: () => prove(() => approveByPasskey(shown)) }, icon("passkey"), t("pay_passkey"));
  const ways = h("div.stack", {});
  const methods = () => {
    const can = (f) => shown.factors?.includes(f);
    const key = can("passkey") && passkey.possible();
    byPassword.querySelector("[type=submit]").className = key ? "second" : "main";
    ways.replaceChildren(...[
      key && byPasskey, key && can("password") && h("p.or", {}, h("span", {}, t("or"))), can("password") && byPassword,
      !can("password") && h("p.hint", {}, t("locked_text")),
    ].filter(Boolean));
  };
  methods();

  const cancel = h("button.quiet", { type: "button", onclick: () => prove(() => api.post(`sales/${id}/cancel`)) }, t("cancel_payment"));
  const form = h("form.sheet.agree", {
    onsubmit(e) {
      e.preventDefault();
      const text = secret.take();
      if (text) prove(() => approveByPassword(shown, app.session.customer.id, text));
    },
  }, agreed ? [ways, wrong.place] : h("p.trouble", { role: "alert" }, t("problem_other_digest")), cancel, others);

  body.append(
    h("div.sheet.slip", {},
      shop(shown), total(shown), foreign(shown),
      h("dl.match", {}, h("dt", {}, t("number")), h("dd", { dir: "ltr" }, shown.number)),
      time.place, items(shown), details(shown)),
    form);

  const hear = () => {
    const list = sales.waiting();
    const n = list.filter((s) => s.sale.id !== id).length;
    others.hidden = n === 0;
    others.replaceChildren(h("a", { href: "#/" }, t("others_n", { n })));
    if (!list.some((s) => s.sale.id === id)) look().catch(() => {});
  };
  hear();
  const deaf = sales.listen(hear);
  const clock = setInterval(() => { if (time.tick() <= 0 && !busy) look().catch(() => {}); }, 500);
  stop = () => { deaf(); clearInterval(clock); };
  return view;
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
