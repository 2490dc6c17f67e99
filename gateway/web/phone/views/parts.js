// Parts that several views are made of.
import { h, icon, isolate, say } from "../dom.js";
import { money } from "../format.js";
import { known, t } from "../i18n.js";
import { kinds } from "../link.js";

export const heading = (text, attributes = {}) => h("h1", { tabindex: "-1", ...attributes }, text);

// reason says in the customer's language why something did not work. What has no
// words of its own is told as the gateway says it.
export function reason(e) {
  if (e.name === "NotAllowedError" || e.name === "AbortError") return t("passkey_stopped");
  const key = "problem_" + e.code;
  if (known(key)) return t(key);
  return e.status ? t("problem_other", { text: e.message }) : t("problem_here", { text: e.message });
}

// sum is an amount, written from left to right whatever stands around it.
export const sum = (amount) => h("bdi", { dir: "ltr" }, money(amount));

// trouble is a place for what went wrong, read out when it is filled.
export function trouble() {
  const place = h("p.trouble", { role: "alert", hidden: true });
  return {
    place,
    show(text) { place.textContent = text; place.hidden = false; },
    clear() { place.textContent = ""; place.hidden = true; },
  };
}

// fault is a view of its own, for when there is nothing else to show.
export const fault = (e, again) => ({
  title: t("fault"), alone: true,
  body: h("section.outcome.bad", {}, h("div.seal", {}, icon("cross")), heading(t("fault")), h("p", {}, reason(e)),
    h("p", {}, h("button.main", { type: "button", onclick: again }, t("again")))),
});

// field is a labelled input.
export function field(label, attributes, hint) {
  const id = attributes.id;
  return h("div.field", {}, h("label", { for: id }, label),
    h("input", { ...attributes, "aria-describedby": hint ? id + "-hint" : null }),
    hint && h("p.hint", { id: id + "-hint" }, hint));
}

// password is a field whose text can be shown, and which take empties.
export function password(id, label, { autocomplete = "current-password", hint } = {}) {
  const input = h("input", {
    id, type: "password", name: "password", autocomplete, required: true, maxlength: "256", dir: "ltr",
    autocapitalize: "none", spellcheck: "false", "aria-describedby": hint ? id + "-hint" : null,
  });
  const eye = h("button.plain", { type: "button", "aria-label": t("show_password"), "aria-pressed": "false", onclick() {
    const seen = input.type === "password";
    input.type = seen ? "text" : "password";
    eye.setAttribute("aria-pressed", String(seen));
  } }, icon("eye"));
  return {
    input,
    place: h("div.field", {}, h("label", { for: id }, label), h("div.secret", {}, input, eye), hint && h("p.hint", { id: id + "-hint" }, hint)),
    // take gives what was typed and leaves the field empty and covered.
    take() {
      const text = input.value;
      input.value = "";
      input.type = "password";
      eye.setAttribute("aria-pressed", "false");
      return text;
    },
  };
}

// user tells password managers whose password a form asks for.
export const user = (id) => h("input.unseen", { type: "text", name: "username", autocomplete: "username", value: id, readonly: true, tabindex: "-1", "aria-hidden": "true" });

// working keeps a form's buttons still while f runs, and says so.
export async function working(form, f) {
  const buttons = [...form.querySelectorAll("button, input")];
  form.setAttribute("aria-busy", "true");
  for (const b of buttons) b.disabled = true;
  try {
    return await f();
  } finally {
    form.removeAttribute("aria-busy");
    for (const b of buttons) b.disabled = false;
  }
}

// confirm asks before something that cannot be undone. It gives whether to go on.
export function confirm(question, yes) {
  return new Promise((resolve) => {
    const title = h("h2", { id: "question" }, question);
    const dialog = h("dialog", { "aria-labelledby": "question", onclose() { dialog.remove(); resolve(dialog.returnValue === "yes"); } },
      title, h("div.row", {},
        h("button.quiet", { type: "button", onclick: () => dialog.close("no") }, t("keep")),
        h("button.danger", { type: "button", onclick: () => dialog.close("yes") }, yes)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

// cables is the choice of how the reader hangs on this phone, where there is one.
export function cables(first) {
  const all = kinds();
  let now = first;
  const choice = (kind) => h("label", {}, h("input", { type: "radio", name: "cable", value: kind, checked: kind === now, onchange() { now = kind; } }), h("span", {}, t("cable_" + kind)));
  return {
    kind: () => now,
    place: all.length > 1 && h("fieldset.choice", {}, h("legend.unseen", {}, t("cable")), all.map(choice)),
  };
}

// part is a part of a page, under its own heading.
export const part = (name, ...inner) => h("section.sheet", { "aria-labelledby": name }, h("h2", { id: name, tabindex: "-1" }, t(name)), ...inner);

// act is a button whose trouble is told beside it.
export function act(kind, text, f, label) {
  const wrong = trouble();
  const place = h("div", {}, h(`button.${kind}`, { type: "button", "aria-label": label, onclick: () => {
    wrong.clear();
    return f(place).catch((e) => wrong.show(reason(e)));
  } }, text), wrong.place);
  return place;
}

// entry is a line in a list of things that can be removed.
export function entry(name, note, question, take) {
  const li = h("li", {}, h("div", {}, h("strong", {}, isolate(name)), h("span.soft", {}, note)),
    take && act("quiet", t("remove"), async () => {
      if (!(await confirm(question, t("remove")))) return;
      await take();
      const next = li.nextElementSibling ?? li.previousElementSibling;
      const list = li.parentElement;
      li.remove();
      say(t("removed", { name }));
      (next?.querySelector("button") ?? list.closest("section").querySelector("button, h2")).focus();
    }, t("remove_name", { name })));
  return li;
}
