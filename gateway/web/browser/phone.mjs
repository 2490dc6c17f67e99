// Uses the phone app with a real browser, as customers do, against a real gateway
// that a shop asks for payments.
//
//   node phone.mjs SETTINGS.json
//
// The settings say where the gateway is (base; hasty is one whose payments wait for
// seconds only), the shop's keys, the customers' password, an invitation, and the
// folder for screenshots. Every scene has a customer of its own, who is named by
// the scene. It says what is wrong on standard error, and exits with 1 if anything is.
import { readFile } from "node:fs/promises";
import { check, faults, launch, look, narrow, watch, wide } from "./help.mjs";
import { readerScenes } from "./phone_reader.mjs";

const settings = JSON.parse(await readFile(process.argv[2], "utf8"));
const { base, hasty, keys, password, customers, pictures } = settings;
const only = process.argv.slice(3); // scenes to play; all, if none is named
const browser = await launch();

// ask is a shop's terminal that asks for a payment.
let attempt = 0;
const aoi = { merchant: "AOI000000000001", terminal: "AOI00001" };
const machine = { merchant: "VEND00000000001", terminal: "VEND0001" };
const coffee = { code: "2000000000015", name: "Coffee", quantity: 1, price: 450, tax: 1000 };
const cake = { name: "チーズケーキ", quantity: 2, price: 520, tax: 1000 };

async function shop(path, body, at = base, merchant = body?.merchant ?? aoi.merchant) {
  const answer = await fetch(at + "/v1/payments" + path, {
    method: body ? "POST" : "GET", body: body && JSON.stringify(body),
    headers: {
      Authorization: "Bearer " + keys[merchant],
      ...(body && { "Content-Type": "application/json", "Idempotency-Key": `browser-${process.pid}-${++attempt}` }),
    },
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`the gateway answers the shop's ${path} with ${answer.status}: ${text}`);
  return JSON.parse(text);
}

const ask = (customer, { items = [coffee, cake], kind = "purchase", confirm = "phone", at, ...place } = {}) => shop("", {
  kind, ...aoi, ...place, confirm, ...(confirm !== "claim" && { customer }), items,
  amount: { value: items.reduce((n, i) => n + i.quantity * i.price, 0), currency: "JPY" },
}, at);

// become signs a phone in, with its owner's password.
async function phone(scene, { lang = "en", viewport = narrow, at = base, expected = [], signIn = true, before } = {}) {
  const context = await browser.newContext({ viewport, reducedMotion: "reduce", locale: lang, permissions: ["camera"] });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  watch(page, scene, new URL(at).origin, expected);
  await before?.(page);
  await page.goto(at + "/phone");
  if (signIn) {
    await enter(page, customers[scene]);
    await page.waitForSelector(".bar");
  }
  return { context, page };
}

async function enter(page, customer, secret = password) {
  await page.fill("#customer", customer);
  await page.fill("#password", secret);
  await page.press("#password", "Enter");
}

const pay = async (page, secret = password) => {
  await page.fill("#password", secret);
  await page.press("#password", "Enter");
};
const heading = (page) => page.locator("main h1").innerText();
const ended = (page, kind) => page.waitForSelector(`.outcome .icon-${kind}`);
const stands = async (id, status, at, place = aoi) => {
  const p = await shop("/" + id, undefined, at, place.merchant);
  check(p.status === status, `payment ${id} is ${p.status} at the terminal, want ${status}`);
};

// virtual gives a page an authenticator that says yes to its owner.
async function virtual(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  await devtools.send("WebAuthn.addVirtualAuthenticator", { options: {
    protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true,
  } });
}

const scenes = {
  // A customer buys with nothing but the keyboard. The password is typed in wide
  // letters, as a Japanese keyboard may write them.
  async password() {
    const { context, page } = await phone("password", { lang: "ja", signIn: false, expected: ["401"] });
    await look(page, "sign-in", pictures);
    await enter(page, customers.password, "wrong");
    await page.waitForSelector(".trouble:not([hidden])");
    check(await page.inputValue("#password") === "", "a wrong password stays in its field");
    check(await page.evaluate(() => document.activeElement.id) === "password", "after a wrong sign-in the focus is elsewhere");
    await enter(page, customers.password);
    await page.waitForSelector(".empty");
    await look(page, "nothing", pictures, ".empty");
    const sale = await ask(customers.password);
    await page.waitForSelector(".slip");
    check((await page.locator(".match dd").innerText()) === sale.number, "the phone's number is not the terminal's");
    const shown = await page.locator(".slip").innerText();
    for (const want of ["Kissaten Aoi", "1,490", "Coffee", "450", "チーズケーキ", "520", "1,040"]) check(shown.includes(want), `the payment is shown without ${want}: ${shown}`);
    await page.keyboard.press("Tab");
    for (let i = 0; i < 9 && await page.evaluate(() => document.activeElement.id !== "password"); i++) await page.keyboard.press("Tab");
    await page.keyboard.type(password.replace(/[0-9]/g, (d) => String.fromCharCode(0xff10 + Number(d))));
    await page.keyboard.press("Enter");
    await ended(page, "check");
    check(await page.evaluate(() => document.activeElement.tagName) === "H1", "the outcome's heading has not the focus");
    await stands(sale.id, "approved");
    await look(page, "paid", pictures, ".outcome");
    await page.click("a[href^='#/receipt/']");
    await page.waitForSelector(".paper");
    check((await page.locator(".paper").innerText()).includes("1,490"), "the receipt lacks the total");
    await look(page, "receipt", pictures, ".paper");
    await page.check("input[value='42']");
    await page.waitForSelector(".paper[data-columns='42']");
    check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a receipt of 42 columns is wider than the screen");
    const [paper] = await Promise.all([context.waitForEvent("page"), page.click("a[target]")]);
    await paper.waitForLoadState();
    check((await paper.content()).includes("1,490"), "the receipt's page lacks the total");
    await paper.close();
    await page.goto(base + "/phone/#/history");
    await page.waitForSelector("ul.rows");
    await look(page, "history", pictures, "ul.rows");
    check(!(await kept(page)).includes(password), "the password is kept somewhere");
    await context.close();
  },

  async passkey() {
    const { context, page } = await phone("passkey", { viewport: wide });
    await virtual(page);
    await page.click(".bar a[href='#/settings']");
    await page.click("details:has(#passkey-name) summary");
    await page.fill("#passkey-name", "Finger");
    await page.fill("#passkey-password", password);
    await page.press("#passkey-password", "Enter");
    await page.waitForSelector("section[aria-labelledby=passkeys] li:has-text('Finger')");
    await look(page, "settings", pictures, ".things li");
    const sale = await ask(customers.passkey);
    await page.goto(base + "/phone/#/");
    await page.waitForSelector(".slip");
    await look(page, "payment-passkey", pictures, ".slip");
    await page.click("button:has(.icon-passkey)");
    await ended(page, "check");
    await stands(sale.id, "approved");
    // The phone leaves, and comes back with the passkey alone.
    await page.goto(base + "/phone/#/settings");
    await page.click("section[aria-labelledby=leave] button");
    await page.waitForSelector("dialog[open]");
    await page.click("dialog .danger");
    await page.waitForSelector("#customer");
    await page.click("button:has(.icon-passkey)");
    await page.waitForSelector(".bar");
    await page.goto(base + "/phone/#/settings");
    await page.click("section[aria-labelledby=passkeys] li button");
    await page.click("dialog .danger");
    await page.waitForFunction(() => !document.querySelector("section[aria-labelledby=passkeys] li"));
    await context.close();
  },

  async cancel() {
    const { context, page } = await phone("cancel", { lang: "de" });
    // The customer's own choice of look and language stays, and the first stop of the
    // keyboard skips to the content.
    await page.click("button:has(.icon-auto)");
    await page.click("button:has(.icon-light)");
    await page.selectOption("#language", "ja");
    await page.waitForFunction(() => document.documentElement.lang === "ja");
    await page.reload();
    await page.waitForSelector("[lang=ja][data-look=dark] .empty");
    await page.focus(".skip");
    await page.keyboard.press("Enter");
    check(await page.evaluate(() => document.activeElement.id) === "main", "the skip link does not lead to the content");
    await page.goto(base + "/phone/#/");
    await page.click("button:has(.icon-dark)");
    const sale = await ask(customers.cancel);
    await page.waitForSelector(".slip");
    await page.click("form .quiet");
    await ended(page, "cross");
    await stands(sale.id, "cancelled");
    await look(page, "cancelled", pictures, ".outcome");
    await context.close();
  },

  // The shop takes its sale back while the customer looks at it, and asks for another
  // before they have left the first.
  async reversed() {
    const { context, page } = await phone("reversed");
    const sale = await ask(customers.reversed);
    await page.waitForSelector(".slip");
    await shop(`/${sale.id}/cancel`, {});
    await page.waitForSelector(".outcome");
    check(!(await page.isVisible("#password")), "a payment that the shop took back can be approved");
    check(!(await page.isVisible(".strip")), "a payment that is over is said to be waiting");
    const next = await ask(customers.reversed, { items: [coffee] });
    await page.waitForSelector(".strip a");
    await look(page, "over-and-waiting", pictures, ".outcome");
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    check(await page.evaluate(() => {
      const { top, bottom } = document.querySelector(".strip a").getBoundingClientRect();
      return scrollY > 0 && top >= 0 && bottom <= innerHeight;
    }), "below the outcome of one payment, the next one is out of sight");
    await page.click(".strip a");
    await page.waitForSelector(".slip .match");
    check((await page.locator(".match dd").innerText()) === next.number, "another payment is shown than the one that waits");
    await page.click("form .quiet");
    await ended(page, "cross");
    await context.close();
  },

  async late() {
    const { context, page } = await phone("late", { at: hasty });
    const sale = await ask(customers.late, { at: hasty });
    await page.waitForSelector(".time.short, .outcome"); // it may be over before it is drawn, where all is slow
    await ended(page, "clock");
    await stands(sale.id, "expired", hasty);
    await look(page, "late", pictures, ".outcome");
    await context.close();
  },

  async wrong() {
    const { context, page } = await phone("wrong");
    const sale = await ask(customers.wrong);
    await page.waitForSelector(".slip");
    for (const left of [2, 1]) {
      await pay(page, "not it");
      await page.waitForFunction((n) => document.querySelector(".trouble").textContent.includes(n), String(left));
      check(await page.inputValue("#password") === "", "a wrong password stays in its field");
    }
    await look(page, "payment", pictures, ".slip");
    await pay(page, "not it");
    await ended(page, "lock");
    await stands(sale.id, "cancelled");
    await look(page, "locked", pictures, ".outcome");
    // Two more on the next one, and the password is locked for the day.
    await page.click(".outcome a.main");
    await page.waitForSelector(".empty");
    await ask(customers.wrong);
    await page.waitForSelector(".slip");
    await pay(page, "not it");
    await page.waitForSelector(".trouble:not([hidden])");
    await pay(page, "not it");
    await page.waitForSelector("#password", { state: "detached" });
    await look(page, "payment-locked", pictures, ".slip");
    await page.click("form .quiet");
    await ended(page, "cross");
    await context.close();
  },

  async several() {
    const { context, page } = await phone("several");
    await page.click(".bar a[href='#/history']");
    const places = [aoi, { ...aoi, terminal: "AOI00003" }, machine];
    const sales = [];
    for (const [i, place] of places.entries()) sales.push(await ask(customers.several, { ...place, items: [{ name: "Coffee", quantity: 1, price: 100 * (i + 1) }] }));
    await page.waitForFunction(() => /3/.test(document.getElementById("notice").textContent));
    await page.click(".strip a");
    await page.waitForSelector(".cards");
    const order = await page.$$eval(".card", (cards) => cards.map((c) => c.getAttribute("href").slice(6)));
    check(order.join() === sales.map((s) => s.id).reverse().join(), `the payments stand in the order ${order}`);
    await look(page, "several", pictures, ".card");
    await page.click(`.card[href$="${sales[1].id}"]`);
    await page.waitForSelector(".slip");
    check((await page.locator(".total").innerText()).includes("200") && !/100|300/.test(await page.locator(".slip").innerText()), "more than one payment is shown at once");
    check(/2/.test(await page.locator(".others").innerText()), "the other payments are not told of");
    await pay(page);
    await ended(page, "check");
    await stands(sales[1].id, "approved");
    await stands(sales[0].id, "waiting");
    await page.waitForFunction(() => /2/.test(document.querySelector(".strip a")?.textContent));
    await page.click(".strip a");
    await page.waitForSelector(".card");
    check((await page.locator(".card").count()) === 2, "the payment that was approved still waits");
    await context.close();
  },

  // A vending machine shows a code. It is typed, then followed as a link, then seen
  // by the camera.
  async claim() {
    const seen = (page) => page.addInitScript(() => {
      self.BarcodeDetector = class { async detect() { return self.qr ? [{ rawValue: self.qr }] : []; } };
    });
    const { context, page } = await phone("claim", { before: seen, expected: ["404", "409", "422"] });
    await page.click(".bar a[href='#/claim']");
    await page.waitForSelector("#code");
    await page.fill("#code", "NOT A CODE");
    await page.press("#code", "Enter");
    await page.waitForSelector(".trouble:not([hidden])");
    await look(page, "claim", pictures, "#code");
    const wait = (kind) => ask(undefined, { ...machine, confirm: "claim", kind, items: kind === "purchase" ? [{ code: "A2", name: "Green tea", quantity: 1, price: 160 }] : [{ code: "B2", name: "Orange juice", quantity: 1, price: 170 }] });
    const typed = await wait("pre_authorization");
    await page.fill("#code", typed.claim.code.toLowerCase().replace(/(.{4})/g, "$1 "));
    await page.press("#code", "Enter");
    await page.waitForSelector(".slip");
    await look(page, "payment-reserve", pictures, ".slip");
    await pay(page);
    await ended(page, "check");
    await stands(typed.id, "authorized", base, machine);
    const linked = await wait("purchase");
    await page.goto(base + "/phone#claim=" + linked.claim.code);
    await page.waitForSelector(".slip");
    await pay(page);
    await ended(page, "check");
    await stands(linked.id, "approved", base, machine);
    const shown = await wait("purchase");
    await page.goto(base + "/phone/#/claim");
    await page.click("button:has-text('Scan')");
    await page.waitForSelector("video:not([hidden])");
    await page.evaluate((url) => { self.qr = url; }, shown.claim.url);
    await page.waitForSelector(".slip");
    await page.click("form .quiet");
    await ended(page, "cross");
    await context.close();
  },

  async invitation() {
    const { context, page } = await phone("invitation", { signIn: false });
    await page.goto(`${base}/phone#invite=${settings.invitation}`);
    await page.waitForSelector("#new-password");
    await look(page, "invitation", pictures, "#new-password");
    await page.fill("#new-password", "short");
    await page.fill("#same-password", "short");
    await page.press("#same-password", "Enter");
    await page.waitForSelector(".trouble:not([hidden])");
    for (const id of ["#new-password", "#same-password"]) await page.fill(id, "four words in a row");
    await page.press("#same-password", "Enter");
    await page.waitForSelector(".bar");
    check(!page.url().includes(settings.invitation), "the invitation's code stays in the address");
    const sale = await ask(customers.invitation);
    await page.waitForSelector(".slip");
    await pay(page, "four words in a row");
    await ended(page, "check");
    await stands(sale.id, "approved");
    await context.close();
  },

  // A lost phone is removed with another one.
  async revoked() {
    const lost = await phone("revoked", { expected: ["401", "404"] });
    const own = await phone("revoked");
    await own.page.click(".bar a[href='#/settings']");
    await own.page.click("section[aria-labelledby=devices] li button");
    await own.page.click("dialog .danger");
    await own.page.waitForFunction(() => document.querySelectorAll("section[aria-labelledby=devices] li").length === 1);
    await lost.page.click(".bar a[href='#/history']");
    await lost.page.waitForSelector("#customer");
    await lost.context.close();
    await own.context.close();
  },

  async arabic() {
    const { context, page } = await phone("arabic", { lang: "ar" });
    check(await page.evaluate(() => document.dir) === "rtl", "Arabic is not written from right to left");
    const [home, settings] = await page.$$eval(".bar a", (all) => [all[0], all.at(-1)].map((a) => a.getBoundingClientRect().left));
    check(home > settings, "the bar does not begin at the right");
    const sale = await ask(customers.arabic);
    await page.waitForSelector(".slip");
    check((await page.locator(".match dd").innerText()) === sale.number, "the number is not as the terminal shows it");
    await pay(page);
    await ended(page, "check");
    await context.close();
  },

  // The account is in euro, the shop in Japan.
  async foreign() {
    const { context, page } = await phone("foreign", { lang: "de" });
    const sale = await ask(customers.foreign);
    await page.waitForSelector(".foreign");
    const shown = await page.locator(".foreign").innerText();
    for (const want of [/€/, /1 JPY = 0,00\d+ EUR/, /20\d\d/]) check(want.test(shown), `the foreign payment is shown without ${want}: ${shown}`);
    await look(page, "payment-foreign", pictures, ".foreign");
    await pay(page);
    await ended(page, "check");
    await stands(sale.id, "approved");
    await context.close();
  },

  async uncovered() {
    const { context, page } = await phone("uncovered");
    const sale = await ask(undefined, { ...machine, confirm: "claim", items: [{ code: "A2", name: "Green tea", quantity: 1, price: 160 }] });
    await page.goto(base + "/phone#claim=" + sale.claim.code);
    await ended(page, "purse");
    await stands(sale.id, "cancelled", base, machine);
    await look(page, "uncovered", pictures, ".outcome");
    await context.close();
  },

  // Somebody between gateway and phone changes what is shown: it is not signed.
  async changed() {
    const { context, page } = await phone("changed");
    await page.route("**/phone/v1/sales/pay_*", async (route) => {
      const answer = await route.fetch();
      const shown = await answer.json();
      shown.sale.items[0].name = "Tea";
      await route.fulfill({ response: answer, json: shown });
    });
    await ask(customers.changed);
    await page.waitForSelector("form .trouble");
    check(!(await page.isVisible("#password")) && (await page.locator("form button").count()) === 1, "what was changed on its way can be approved");
    await look(page, "payment-changed", pictures, ".trouble");
    await context.close();
  },

  // No events come, the session is gone, the connection breaks: the payment is
  // there all the same when it can be.
  async weather() {
    const { context, page } = await phone("weather", { expected: ["401", "ERR_"], before: (p) => p.route("**/phone/v1/events", (r) => r.abort()) });
    await context.clearCookies();
    const sale = await ask(customers.weather);
    await page.waitForSelector(".slip");
    await context.setOffline(true);
    await page.waitForSelector(".strip.off");
    await pay(page);
    await page.waitForSelector(".trouble:not([hidden])");
    await look(page, "offline", pictures);
    await stands(sale.id, "waiting");
    await context.setOffline(false);
    await page.waitForSelector(".strip.off", { state: "detached" });
    await page.waitForSelector(".slip");
    await pay(page);
    await ended(page, "check");
    await stands(sale.id, "approved");
    // The page itself is there without a connection.
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    await page.waitForSelector(".outcome");
    await context.setOffline(true);
    await page.reload();
    await page.waitForSelector("main h1");
    check(await page.isVisible("button.main"), `without a connection the page says ${await heading(page)}`);
    await context.close();
  },

  // A message arrives while the page is closed; it names nothing.
  async push() {
    const { context, page } = await phone("push", { lang: "ja" });
    await context.grantPermissions(["notifications"]);
    const devtools = await context.newCDPSession(page);
    const registration = new Promise((resolve) => devtools.on("ServiceWorker.workerRegistrationUpdated", (e) => e.registrations[0] && resolve(e.registrations[0].registrationId)));
    await devtools.send("ServiceWorker.enable");
    await page.evaluate(() => navigator.serviceWorker.ready);
    await devtools.send("ServiceWorker.deliverPushMessage", { origin: base, registrationId: await registration, data: '{"v":1,"t":"ask"}' });
    const { installabilityErrors: missing } = await devtools.send("Page.getInstallabilityErrors");
    check(missing.every((e) => e.errorId === "in-incognito"), `the app cannot be installed: ${missing.map((e) => e.errorId)}`);
    const said = await page.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      for (;;) {
        const [message] = await registration.getNotifications();
        if (message) return message.title + " " + message.body;
        await new Promise(requestAnimationFrame);
      }
    });
    check(said === "お支払いの依頼があります タップして確認してください。", `the message says ${said}`);
    await context.close();
  },
};

// kept gives all that a page keeps, in the page itself and in the browser.
const kept = (page) => page.evaluate(async () => {
  const db = await new Promise((resolve) => { const r = indexedDB.open("kessai-phone"); r.onsuccess = () => resolve(r.result); });
  const all = await new Promise((resolve) => { const r = db.transaction("kept").objectStore("kept").getAll(); r.onsuccess = () => resolve(r.result); });
  db.close();
  const fields = [...document.querySelectorAll("input")].map((i) => i.value);
  return document.documentElement.outerHTML + JSON.stringify([all, fields, { ...localStorage }, { ...sessionStorage }, document.cookie]);
});

Object.assign(scenes, readerScenes({ settings, phone, ask, stands, ended, kept }));

for (const [name, play] of Object.entries(scenes)) {
  if (only.length && !only.includes(name)) continue;
  const start = Date.now();
  try {
    await play();
  } catch (e) {
    check(false, `${name}: ${e.stack}`);
    for (const context of browser.contexts()) {
      for (const page of context.pages()) faults.push(`${name}: it showed: ${await page.locator("body").innerText().catch(() => "nothing")}`);
      await context.close();
    }
  }
  console.log(`${name}: ${Date.now() - start} ms`);
}
await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
