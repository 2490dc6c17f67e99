// One payment: what is bought, until when, and the customer's word.
//
// Nothing here is worked out: it shows what the shop sent, and signs the digest of
// just that (proof.js). What it showed and what became of it stay on one page.
import * as api from "../api.js";
import { h, icon } from "../dom.js";
import { t } from "../i18n.js";
import * as passkey from "../passkey.js";
import { approveByPasskey, approveByPassword, digest } from "../proof.js";
import { password, reason, trouble, user, working } from "./parts.js";
import { outcome } from "./outcome.js";
import { tethered } from "./reader.js";
import { slip } from "./shown.js";
import { countdown, watch } from "./waiting.js";

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
  return { title: shown.sale.shop, body, alone: true, stop: await (shown.confirm === "reader" ? tethered : wait)(shown, whole, body) };
}

// wait shows a payment that waits, and what became of it when it waits no more. It
// gives what ends the watching.
function wait(shown, whole, body) {
  const { sale, deadline } = shown;
  const time = countdown(Date.parse(sale.time), deadline);
  let form;
  const watched = watch(shown, body, { time, busy: () => form.hasAttribute("aria-busy") });
  form = agreement(shown, whole, watched.settle, watched.look);
  form.append(watched.others);
  body.append(slip(shown, time), form);
  watched.hear();
  return watched.stop;
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
