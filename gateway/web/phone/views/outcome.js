// What became of a payment, in one look.
import { h, icon, isolate } from "../dom.js";
import { moment, money } from "../format.js";
import { t } from "../i18n.js";
import { heading, sum } from "./parts.js";
import { details, foreign, items } from "./shown.js";

// What the terminal was told (ISO 8583 field 39) says why a payment ended without
// money; the status alone says that it did.
const reasons = { "17": "cancelled", "51": "uncovered", "68": "late", "75": "locked" };
// With a card reader, it may have been the card, its PIN, or what the reader sealed.
const readerReasons = {
  ...reasons, "04": "card_blocked", "14": "card_unknown", "41": "card_blocked", "43": "card_blocked", "54": "card_expired", "55": "pin_wrong",
  "57": "card_limited", "61": "card_limited", "63": "unsealed", "65": "card_limited", "75": "pin_locked",
};
const looks = {
  card_blocked: ["bad", "card"], card_unknown: ["bad", "card"], card_expired: ["bad", "card"], card_limited: ["bad", "card"],
  pin_wrong: ["bad", "pad"], pin_locked: ["bad", "lock"], unsealed: ["bad", "reader"],
  approved: ["good", "check"], cancelled: ["calm", "cross"], late: ["calm", "clock"], locked: ["bad", "lock"],
  uncovered: ["bad", "purse"], reversed: ["calm", "back"], released: ["calm", "back"], refused: ["bad", "cross"], waiting: ["calm", "clock"],
};

// kind names the outcome of a payment: one of the keys of looks.
export function kind({ status, told, confirm }) {
  if (status === "waiting" || status === "reversed") return status;
  const why = (confirm === "reader" ? readerReasons : reasons)[told?.code];
  if (why) return why;
  if (status === "released" || status === "expired") return "released"; // what was allowed was not taken
  return status === "declined" || status === "cancelled" ? "refused" : "approved";
}

// outcome shows a payment that is over; the notice above it tells of others that wait
// (app.js). note is a sentence more.
export function outcome(shown, note) {
  const what = kind(shown);
  const [mood, sign] = looks[what];
  const title = what === "approved" && shown.sale.kind !== "purchase" ? "outcome_reserved" : "outcome_" + what;
  return [h(`div.outcome.${mood}`, {},
    h("div.seal", {}, icon(sign)),
    heading(t(title)),
    h("p.sum", {}, sum(shown.sale.total)),
    h("p.shop", {}, isolate(shown.sale.shop)),
    h("p.soft", {}, moment(shown.sale.time)),
    h("p", {}, t(`outcome_${what}_text`)),
    note && h("p", {}, note),
    shown.refunded > 0 && h("p", {}, t("refunded", { amount: money({ value: shown.refunded, currency: shown.sale.total.currency }) })),
    h("div.stack", {},
      what === "approved" && h("a.second", { href: "#/receipt/" + shown.sale.id }, t("receipt")),
      h("a.main", { href: "#/" }, t("done")))),
  h("div.sheet.slip", {}, foreign(shown), items(shown), details(shown))];
}
