// This phone and the others, passkeys, push, and leaving.
import * as api from "../api.js";
import { h, icon, isolate, say } from "../dom.js";
import { day } from "../format.js";
import { t } from "../i18n.js";
import * as passkey from "../passkey.js";
import { addPasskey } from "../proof.js";
import * as push from "../push.js";
import { act, confirm, entry, field, heading, part, password, reason, trouble, user, working } from "./parts.js";
import { thisPhone } from "./signin.js";

export default async function (app) {
  const [{ devices }, pushed] = await Promise.all([api.get("devices"), push.on().catch(() => false), app.refresh()]);
  const { customer, device, passkeys } = app.session;
  const body = h("section", {}, heading(t("settings")), h("p.soft", {}, isolate(customer.name), " · ", isolate(customer.id)));
  body.append(pushes(pushed), phones(devices, device), keys(customer, passkeys ?? []),
    part("readers", h("p.soft", {}, t("readers_text")), h("a.second", { href: "#/readers" }, icon("reader"), t("readers_open"))),
    part("leave", h("p.soft", {}, t("leave_text")), act("danger", t("leave"), async () => {
      if (await confirm(t("leave_question"), t("leave"))) await app.left();
    })));
  return { title: t("settings"), body };
}

function pushes(on) {
  const wrong = trouble();
  const box = h("input", { type: "checkbox", role: "switch", id: "push-switch", checked: on, disabled: !push.possible(), "aria-describedby": "push-text", async onchange() {
    wrong.clear();
    box.disabled = true;
    try {
      if (!box.checked) await push.turnOff();
      else if (!(await push.turnOn())) wrong.show(t("push_denied"));
      say(t((await push.on()) ? "push_on" : "push_off"));
    } catch (e) {
      wrong.show(e instanceof api.Problem ? reason(e) : t("push_impossible"));
    }
    box.checked = await push.on();
    box.disabled = false;
    box.focus();
  } });
  return part("push", h("label.switch", { for: "push-switch" }, h("span", {}, t("push_switch")), box),
    h("p.soft", { id: "push-text" }, t(push.possible() ? "push_text" : "push_impossible")), wrong.place);
}

function phones(devices, own) {
  return part("devices", h("p.soft", {}, t("devices_text")), h("ul.things", {}, devices.map((d) => {
    const mine = d.id === own.id;
    return entry(d.name, mine ? t("this_phone") : t("seen", { date: day(d.seen_at ?? d.added_at) }), t("device_question", { name: d.name }),
      !mine && (() => api.remove("devices/" + d.id)));
  })));
}

function keys(customer, passkeys) {
  const line = (p) => entry(p.name, t("added", { date: day(p.added_at) }), t("passkey_question", { name: p.name }), () => api.remove("passkeys/" + p.id));
  const list = h("ul.things", {}, passkeys.map(line));
  const body = part("passkeys", h("p.soft", {}, t("passkeys_text")), list);
  if (!passkey.possible()) return body;
  const wrong = trouble();
  const secret = password("passkey-password", t("password"));
  const form = h("form.stack", {
    async onsubmit(e) {
      e.preventDefault();
      wrong.clear();
      const text = secret.take();
      const name = form.passkey_name.value.trim();
      await working(form, async () => {
        try {
          await addPasskey(customer.id, text, name);
          const { passkeys: now } = await api.get("session");
          list.replaceChildren(...now.map(line));
          say(t("passkey_added"));
        } catch (e) {
          wrong.show(reason(e));
        }
      });
      (wrong.place.hidden ? list.querySelector("li:last-child button") ?? secret.input : secret.input).focus();
    },
  }, user(customer.id), field(t("passkey_name"), { id: "passkey-name", name: "passkey_name", required: true, maxlength: "64", autocomplete: "off", value: thisPhone() }),
  secret.place, wrong.place, h("button.second", { type: "submit" }, icon("passkey"), t("passkey_add")));
  body.append(h("details", {}, h("summary", {}, t("passkey_new")), form));
  return body;
}
