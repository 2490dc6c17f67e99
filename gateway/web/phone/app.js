// The customer's phone. Start reading here: what is shown, and when.
//
// A view is a function that gives {title, body, stop, alone}: what stands in the
// middle, what to call when it goes, and whether it stands alone, without the bar
// of places to go to. views/payment.js is what all the rest is for.
import * as api from "./api.js";
import { h, icon, say } from "./dom.js";
import { forget, own } from "./device.js";
import { language, languages, load, choose, t } from "./i18n.js";
import { get, put } from "./keep.js";
import * as push from "./push.js";
import * as sales from "./sales.js";
import claim from "./views/claim.js";
import history from "./views/history.js";
import home from "./views/home.js";
import invite from "./views/invite.js";
import payment from "./views/payment.js";
import readers from "./views/readers.js";
import receipt from "./views/receipt.js";
import settings from "./views/settings.js";
import signIn from "./views/signin.js";
import { fault } from "./views/parts.js";

const views = { "": home, pay: payment, history, receipt, claim, settings, readers };
const places = [["", "home"], ["claim", "claim"], ["history", "history"], ["settings", "settings"]];
const looks = ["auto", "light", "dark"];

let session; // who is signed in
let current; // the view that is shown
let turn = 0; // how often something was to be shown
let look = "auto";

// What views may ask of the app.
const app = {
  get session() { return session; },
  go(place) { location.hash = "#/" + place; },
  // entered is called when somebody has signed in.
  async entered() {
    session = await api.get("session");
    sales.start();
    await route();
  },
  // left ends the session and forgets this phone's key: the gateway is to know
  // this phone no more.
  async left() {
    const { id } = await own();
    if (await push.on()) await push.turnOff();
    await api.remove("devices/" + id);
    await forget();
    out();
    location.hash = "#/";
    await route();
  },
  refresh: async () => { session = await api.get("session"); },
};

function out() {
  session = undefined;
  sales.stop();
}

// route shows what the address says, to whoever may see it.
async function route() {
  const mine = ++turn;
  const [, name, value] = /^#(invite|claim)=(.*)$/.exec(location.hash) ?? [];
  const [place, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  let show, args = rest.map(decodeURIComponent);
  if (name === "invite") [show, args] = [invite, [value]];
  else if (!session) [show, args] = [signIn, [name === "claim"]];
  else if (name === "claim") [show, args] = [claim, [value]];
  else show = views[place] ?? home;
  let view;
  try {
    view = await show(app, ...args);
  } catch (e) {
    if (e.status === 401) { out(); return route(); }
    view = fault(e, route);
    view.failed = true;
  }
  if (mine !== turn) return view.stop?.();
  current?.stop?.();
  current = view;
  frame(view, session && name !== "invite" ? place : undefined);
}

// frame puts a view on the screen and moves the focus to its heading.
function frame(view, place) {
  document.title = `${view.title} – Kessai`;
  document.getElementById("skip").textContent = t("skip");
  document.getElementById("app").replaceChildren(
    h("header.top", {}, back(view, place), h("p.brand", {}, "Kessai"), h("div.tools", {}, lookButton(), languageChoice())),
    h("aside.notice", { id: "notice", "aria-label": t("notices"), hidden: true }),
    h("main", { id: "main", tabindex: "-1" }, view.body),
    ...(place !== undefined && !view.alone ? [bar(place)] : []),
  );
  document.body.classList.toggle("alone", place === undefined || Boolean(view.alone));
  notice();
  scrollTo(0, 0);
  (document.querySelector("main h1") ?? document.getElementById("main")).focus({ preventScroll: true });
}

const back = (view, place) => place !== undefined && view.alone
  ? h("a.back", { href: "#/" + (view.from ?? ""), "aria-label": t("back") }, icon("back")) : null;

const bar = (place) => h("nav.bar", { "aria-label": t("places") }, h("ul", {}, places.map(([to, name]) => h("li", {},
  h("a", { href: "#/" + to, "aria-current": to === place ? "page" : null }, icon(name), h("span", {}, t(name)))))));

function languageChoice() {
  const change = async (e) => { await choose(e.target.value); await route(); document.getElementById("language").focus(); };
  return h("select.language", { id: "language", "aria-label": t("language"), onchange: change },
    Object.entries(languages).map(([code, name]) => h("option", { value: code, lang: code, selected: code === language() }, name)));
}

function lookButton() {
  const change = async (e) => {
    look = looks[(looks.indexOf(look) + 1) % looks.length];
    wear();
    const button = lookButton();
    e.currentTarget.replaceWith(button);
    button.focus();
    say(t("look_" + look));
    await put("look", look);
  };
  return h("button.plain", { type: "button", onclick: change, "aria-label": t("look_" + look) }, icon(look));
}

function wear() {
  if (look === "auto") delete document.documentElement.dataset.look;
  else document.documentElement.dataset.look = look;
}

// notice tells, above any view but the list and a payment that is not over, that
// somebody waits or that nothing can be heard.
let offline = false;
function notice() {
  const place = document.getElementById("notice");
  if (!place || !session) return;
  const list = sales.waiting().filter((s) => location.hash !== "#/pay/" + s.sale.id);
  const n = list.length;
  const over = document.querySelector(".pay > .outcome:not(.reading)");
  const busy = !over && /^(#\/?(pay\/.*)?|#invite=.*)?$/.test(location.hash);
  const news = [
    offline && h("p.strip.off", {}, t("offline_now")),
    n > 0 && !busy && h("p.strip", {}, h("a", { href: n === 1 ? "#/pay/" + list[0].sale.id : "#/" }, t("waiting_n", { n }), icon("next"))),
  ].filter(Boolean);
  place.replaceChildren(...news);
  place.hidden = !news.length;
}

let told = "";
sales.listen(async (f) => {
  if (f?.status === 401) { out(); return route(); }
  offline = Boolean(f) && (f.code === "offline" || f.code === "slow");
  if (!f && current?.failed) return route();
  notice();
  const text = offline ? t("offline_now") : sales.waiting().length ? t("waiting_n", { n: sales.waiting().length }) : "";
  if (text !== told) say(told = text);
});

async function start() {
  await load();
  look = (await get("look")) ?? "auto";
  wear();
  document.body.append(h("p.unseen", { id: "said", role: "status", "aria-live": "polite" }));
  document.getElementById("skip").addEventListener("click", (e) => {
    e.preventDefault(); // the address names views, and no place within one
    document.getElementById("main").focus();
  });
  addEventListener("hashchange", route);
  navigator.serviceWorker?.register("/phone/sw.js").catch(() => {}); // without it there is no push, and all else works
  try {
    if ((await own()).id) { // else nobody has signed in on this phone
      session = await api.get("session");
      sales.start();
    }
  } catch (e) {
    if (e.status !== 401) return frame(fault(e, () => location.reload()));
  }
  await route();
}

start();
