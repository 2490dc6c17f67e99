// An invitation: the customer sets their password, and this phone is signed in.
import * as api from "../api.js";
import { h } from "../dom.js";
import { language, t } from "../i18n.js";
import { put } from "../keep.js";
import { accept } from "../proof.js";
import { prepare } from "../scram.js";
import { heading, password, reason, trouble, user, working } from "./parts.js";
import { thisPhone } from "./signin.js";

const shortest = 8;

export default async function (app, code) {
  const { customer } = await api.post("invitations", { code }, api.once);
  const { id } = customer;
  const wrong = trouble();
  const first = password("new-password", t("new_password"), { autocomplete: "new-password", hint: t("new_password_hint", { n: shortest }) });
  const second = password("same-password", t("same_password"), { autocomplete: "new-password" });

  const form = h("form.sheet", {
    async onsubmit(e) {
      e.preventDefault();
      wrong.clear();
      const text = first.take(), repeated = second.take();
      const bad = fault(text, repeated);
      if (bad) {
        wrong.show(bad);
        return first.input.focus();
      }
      await working(form, async () => {
        try {
          const { iterations } = await api.get("config", api.once);
          await accept(code, text, iterations, { device_name: thisPhone(), lang: language() });
        } catch (e) {
          return wrong.show(reason(e));
        }
        await put("customer", id);
        history.replaceState(null, "", "#/"); // the code is used up: nobody need see it
        await app.entered();
      });
    },
  }, user(id), first.place, second.place, wrong.place, h("button.main", { type: "submit" }, t("set_password")));
  return {
    title: t("invitation"),
    body: h("section.narrow", {}, h("div.hello", {}, heading(t("invitation")), h("p.soft", {}, t("invitation_text", { id }))), form),
  };
}

function fault(text, repeated) {
  try {
    if ([...prepare(text)].length < shortest) return t("password_short", { n: shortest });
    if (prepare(repeated) !== prepare(text)) return t("password_differs");
  } catch {
    return t("password_characters");
  }
}
