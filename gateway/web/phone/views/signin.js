// Signing in, with password or passkey.
import { h, icon } from "../dom.js";
import { get, put } from "../keep.js";
import { language, t } from "../i18n.js";
import * as passkey from "../passkey.js";
import { signIn, signInByPasskey } from "../proof.js";
import { field, heading, password, reason, trouble, working } from "./parts.js";

// thisPhone is what the list of devices calls this one, until it is renamed.
export function thisPhone() {
  const system = ["iPhone", "iPad", "Android", "Windows", "Mac", "Linux"].find((s) => navigator.userAgent.includes(s)) ?? "";
  const browser = ["Edg", "Firefox", "Chrome", "Safari"].find((b) => navigator.userAgent.includes(b)) ?? "";
  return [system, browser.replace("Edg", "Edge")].filter(Boolean).join(" ") || "Phone";
}

export default async function (app, claiming) {
  const wrong = trouble();
  const secret = password("password", t("password"));
  const who = field(t("customer_id"), {
    id: "customer", name: "username", autocomplete: "username", required: true, maxlength: "64", dir: "ltr",
    autocapitalize: "none", spellcheck: "false", value: (await get("customer")) ?? "",
  });
  const called = field(t("phone_name"), { id: "phone-name", name: "phone_name", autocomplete: "off", maxlength: "64", value: thisPhone() }, t("phone_name_hint"));
  const names = () => ({ device_name: form.phone_name.value.trim() || thisPhone(), lang: language() });

  const enter = (prove) => working(form, async () => {
    wrong.clear();
    try {
      await prove();
    } catch (e) {
      return wrong.show(reason(e));
    }
    await app.entered();
  });
  const form = h("form.sheet", {
    async onsubmit(e) {
      e.preventDefault();
      const id = form.customer.value.trim();
      const text = secret.take();
      await enter(async () => {
        await signIn(id, text, names());
        await put("customer", id);
      });
      if (form.isConnected) secret.input.focus();
    },
  },
  who, secret.place, h("details", {}, h("summary", {}, t("phone_name")), called), wrong.place,
  h("button.main", { type: "submit" }, t("sign_in")),
  passkey.possible() && [
    h("p.or", {}, h("span", {}, t("or"))),
    h("button.second", { type: "button", onclick: () => enter(() => signInByPasskey(names())) }, icon("passkey"), t("sign_in_passkey")),
  ]);
  return {
    title: t("sign_in"),
    body: h("section.narrow", {},
      h("div.hello", {}, h("img", { src: "/phone/icon.svg", width: "64", height: "64", alt: "" }), heading(t("hello")),
        h("p.soft", {}, t(claiming ? "sign_in_to_claim" : "hello_text"))),
      form,
      h("p.soft.small", {}, t("no_password_yet"))),
  };
}
