// Uses the demo's shop floor with a real browser, as a visitor does who sees it for
// the first time.
//
//   node floor.mjs BASE-URL [FOLDER-FOR-SCREENSHOTS [SCENE ...]]
//
// It says what is wrong on standard error, and exits with 1 if anything is.
import { join } from "node:path";
import { readerScenes } from "./floor_reader.mjs";
import { check, faults, inspect, launch, narrow, watch, wide } from "./help.mjs";

const [base, pictures, ...only] = process.argv.slice(2);
const browser = await launch();

// sizes are those in which a page is looked at.
const sizes = [narrow, { width: 768, height: 1024 }, wide, { width: 1440, height: 900 }];

// look looks at what is shown: nothing sticks out, axe has nothing to say, and whatever
// can be touched is large enough. What is on the phone is looked at by phone.mjs.
async function look(page, state) {
  const before = page.viewportSize();
  for (const size of sizes) {
    await page.setViewportSize(size);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const name = `floor-${state}-${size.width}-${colorScheme}`;
      for (const fault of await page.evaluate(measure)) check(false, `${name}: ${fault}`);
      if (size === narrow || size === wide) {
        for (const violation of await inspect(page)) check(false, `${name}: ${violation}`);
      }
      if (pictures) await page.screenshot({ path: join(pictures, name + ".png"), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(before);
}

// measure runs in the page.
function measure() {
  const found = [];
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) found.push(`the page is ${over} px wider than the screen`);
  for (const e of document.querySelectorAll("main *")) {
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "visible" && getComputedStyle(e).display !== "inline" && e.clientWidth > 0) {
      found.push(`${e.outerHTML.slice(0, 80)} is ${e.scrollWidth - e.clientWidth} px too narrow for what is in it`);
    }
  }
  for (const e of document.querySelectorAll("main button, main input, main summary")) {
    if (!e.checkVisibility()) continue;
    const { width, height } = (e.closest("label") ?? e).getBoundingClientRect();
    if (width < 44 || height < 44) found.push(`${e.outerHTML.slice(0, 80)} is ${Math.round(width)} by ${Math.round(height)} px`);
  }
  const back = getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).reduce((n, c) => n + Number(c), 0) > 384;
  if (back !== matchMedia("(prefers-color-scheme: light)").matches) found.push("the background does not follow the look");
  if (/\b(undefined|NaN|null)\b|…\.|\[object/.test(document.body.innerText)) found.push(`says ${document.body.innerText}`);
  return found;
}

// visit opens the shop floor. What the shops ask the gateway is noted in asked.
async function visit(scene, { viewport = wide, expected = [] } = {}) {
  const context = await browser.newContext({ viewport, reducedMotion: "reduce", locale: "en" });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  watch(page, scene, base, expected);
  const asked = [];
  page.on("response", async (r) => {
    const { pathname } = new URL(r.url());
    if (r.request().method() !== "POST" || !pathname.startsWith("/v1/payments") || !r.ok()) return;
    const [, , , of, verb = "ask"] = pathname.split("/");
    asked.push({ of, verb, key: r.request().headers()["idempotency-key"], answer: await r.json() });
  });
  const said = page.waitForEvent("console", { predicate: (m) => m.text().includes("Content Security Policy"), timeout: 0 }).catch(() => {});
  said.then((m) => m && check(false, `${scene}: ${m.text()}`));
  const answer = await page.goto(base + "/demo");
  check(answer.ok() && page.url() === base + "/demo/", `${scene}: /demo leads to ${page.url()} with ${answer.status()}`);
  await page.waitForSelector("[data-ready=yes]");
  return { context, page, asked, phone: page.frameLocator("#phone") };
}

const [first, second, euro] = (await (await fetch(base + "/demo/floor.json")).json()).customers;
const keys = Object.fromEntries((await (await fetch(base + "/demo/floor.json")).json()).shops.map((s) => [s.vending ? "machine" : "till", s.key]));

async function get(of, path) {
  const answer = await fetch(base + "/v1/payments" + path, { headers: { Authorization: `Bearer ${keys[of]}` } });
  return answer.json();
}

// stands says how a payment stands in the book: "captured 160, 0 held".
async function stands(of, id, want) {
  const payment = await get(of, "/" + id);
  let paid = payment.status === "approved" ? payment.amount.value : 0;
  if (payment.status === "captured") paid = (await get(of, "/" + payment.ended_by)).amount.value;
  const got = `${payment.status} ${paid}, ${payment.held ?? 0} held`;
  check(got === want, `${id} is ${got}, want ${want}`);
}

// The visitor counts what they press and what they type.
let clicks, texts;
const press = async (place) => { clicks++; await place.click(); };
const type = async (place, text) => { clicks++; texts++; await place.click(); await place.pressSequentially(text); };

async function signIn(phone, customer = first) {
  await type(phone.locator("#customer"), customer.id);
  await type(phone.locator("#password"), customer.password);
  await press(phone.locator("form button[type=submit]"));
  await phone.locator(".bar").waitFor();
}

async function agree(phone, customer = first) {
  await type(phone.locator("#password"), customer.password);
  await press(phone.locator("form.agree button[type=submit]"));
}

// next leaves what became of the last payment: whatever waits is shown then.
const next = (phone) => phone.locator(".outcome a.main").click();

const says = (page, id, text) => page.locator(id, { hasText: text }).waitFor();
const ended = (phone, kind) => phone.locator(`.outcome .icon-${kind}`).waitFor();
const good = (page, name) => page.locator("#goods button", { hasText: name }).first();
const drink = (page, name) => page.locator("#drinks button", { hasText: name });

// sold begins at the vending machine, and claims and agrees with the phone.
async function sold(page, phone, customer = first) {
  await says(page, "#screen", "Press any drink");
  await drink(page, "Water").click();
  await page.click("#screen button");
  await agree(phone, customer);
  await says(page, "#screen", "Choose a drink");
}

const scenes = {
  // What the first lines of the page tell a visitor to do.
  async coffee() {
    const { context, page, asked, phone } = await visit("coffee");
    await phone.locator("#customer").waitFor();
    await look(page, "first");
    [clicks, texts] = [0, 0];
    const start = Date.now();
    await signIn(phone);
    await press(good(page, "Coffee"));
    await press(page.locator("#go"));
    await phone.locator(".slip").waitFor();
    const shown = await phone.locator(".slip").innerText();
    const number = await page.locator("#till-said .number").innerText();
    for (const want of ["Kissaten Aoi", "Coffee", "450", number]) check(shown.includes(want), `the phone shows the coffee without ${want}: ${shown}`);
    await agree(phone);
    await page.locator("#printer .paper").waitFor();
    console.log(`a coffee takes ${clicks} clicks and ${texts} texts to type; without the reading, ${Date.now() - start} ms`);
    check(clicks <= 7 && texts <= 3, `a coffee takes ${clicks} clicks and ${texts} texts`);
    const paper = await page.locator("#printer .paper").innerText();
    for (const want of ["Kissaten Aoi", "Coffee", "450", asked[0].answer.rrn]) check(paper.includes(want), `the receipt lacks ${want}: ${paper}`);
    check((await page.locator("#till-said").innerText()).includes("Paid"), "the till does not say that it is paid");
    check((await page.locator("#basket tr").count()) === 0, "the basket is not empty after the sale");
    await ended(phone, "check");
    await stands("till", asked[0].answer.id, "approved 450, 0 held");
    await look(page, "paid");

    // By QR code.
    await good(page, "Coffee").click();
    await good(page, "Cheesecake").click();
    await page.check("input[value=claim]");
    await page.click("#go");
    await page.locator("#till-said img").waitFor();
    await page.waitForFunction(() => document.querySelector("#till-said img").naturalWidth > 0);
    await look(page, "qr");
    await page.click("#till-said .qr button");
    await phone.locator(".slip").waitFor();
    await agree(phone);
    await page.waitForFunction(() => document.querySelectorAll("#printer .paper").length === 2);
    await stands("till", asked[1].answer.id, "approved 1000, 0 held");
    check((await page.locator("#printer .paper").first().innerText()).includes("Cheesecake"), "the newest receipt is not the first");

    // The till cancels, then the customer does.
    await page.check("input[value=phone]");
    await good(page, "Toast").click();
    await page.click("#go");
    await next(phone);
    await phone.locator(".slip", { hasText: "Toast" }).waitFor();
    await look(page, "asked");
    await page.click("#till-cancel");
    await says(page, "#till-said.bad", "Cancelled");
    await phone.locator(".outcome").waitFor();
    check(!(await phone.locator("#password").isVisible()), "what the till cancelled can be agreed to");
    await stands("till", asked[2].answer.id, "cancelled 0, 0 held");
    await page.click("#go");
    await next(phone);
    await phone.locator(".slip", { hasText: "Toast" }).waitFor();
    await phone.locator("form.agree .quiet").click();
    await says(page, "#till-said.bad", "Cancelled");
    await ended(phone, "cross");
    await look(page, "cancelled");
    await stands("till", asked.at(-1).answer.id, "cancelled 0, 0 held");
    await context.close();
  },

  // The account is in euro: both amounts are shown.
  async euro() {
    const { context, page, asked, phone } = await visit("euro");
    await signIn(phone, euro);
    await page.fill("#customer", euro.id);
    await good(page, "Coffee").click();
    await page.click("#go");
    await phone.locator(".foreign").waitFor();
    const shown = await phone.locator(".slip").innerText();
    const { rates_of } = await (await fetch(base + "/demo/floor.json")).json();
    for (const want of ["450", "€"]) check(shown.includes(want), `the phone shows the coffee in euro without ${want}: ${shown}`);
    check((await page.locator("body").innerText()).includes(rates_of), "the page does not say of which day the exchange rates are");
    await look(page, "euro");
    await agree(phone, euro);
    await page.locator("#printer .paper").waitFor();
    await stands("till", asked[0].answer.id, "approved 450, 0 held");
    await context.close();
  },

  // Nobody is signed in, no such customer, no such bar code, a basket that is emptied.
  async refused() {
    const { context, page } = await visit("refused");
    check(await page.isDisabled("#go"), "nothing can be paid for");
    await page.fill("#code", "2999999999999");
    await page.press("#code", "Enter");
    await says(page, "#till-said.bad", "item file");
    check((await page.inputValue("#code")) === "", "the unknown bar code stays in its field");
    await page.fill("#code", "2000000000077");
    await page.press("#code", "Enter");
    check((await page.locator("#basket").innerText()).includes("Toast"), "a scanned bar code puts nothing into the basket");
    check((await page.locator("#till-said").innerText()) === "", "the till still complains about the last bar code");
    await page.fill("#customer", "9999999999");
    await page.click("#go");
    await says(page, "#till-said.bad", "cannot be asked");
    await look(page, "refused");
    await page.click("#basket button");
    check(await page.isDisabled("#go"), "an empty basket can be paid for");
    await context.close();
  },

  async machine() {
    const { context, page, asked, phone } = await visit("machine", { expected: ["ERR_FAILED"] });
    await signIn(phone);
    const last = (verb) => asked.filter((a) => a.verb === verb).at(-1)?.answer;
    await drink(page, "Water").click();
    await page.locator("#screen .qr").waitFor();
    await look(page, "machine-qr");
    await page.click("#screen button");
    await phone.locator(".slip").waitFor();
    check((await phone.locator(".match dd").innerText()) === (await page.locator("#screen .number").innerText()), "phone and machine show different numbers");
    await agree(phone);
    await says(page, "#screen", "Choose a drink");
    await look(page, "machine-choose");
    await drink(page, "Green tea").click();
    await says(page, "#flap", "Green tea");
    await says(page, "#screen", "Paid ¥160");
    await stands("machine", last("ask").id, "captured 160, 0 held");

    // It gets stuck.
    await page.click("summary");
    await sold(page, phone);
    await page.check("#jam");
    await drink(page, "Corn soup").click();
    await says(page, "#screen", "Nothing fell");
    check((await page.locator("#flap").innerText()) === "", "something fell from a machine that is stuck");
    await stands("machine", last("ask").id, "released 0, 0 held");

    // The power fails after the drink has fallen, and before.
    await sold(page, phone);
    await page.check("#mute");
    await drink(page, "Orange juice").click();
    await says(page, "#power", "Switch it on");
    await stands("machine", last("ask").id, "authorized 0, 170 held");
    await look(page, "machine-off");
    await page.click("#power");
    await says(page, "#screen", "Paid ¥170");
    await stands("machine", last("ask").id, "captured 170, 0 held");
    await sold(page, phone);
    await page.click("#power");
    await page.click("#power");
    await says(page, "#screen", "Nothing fell");
    await stands("machine", last("ask").id, "released 0, 0 held");

    // The answer to the report is lost, and then the power fails.
    const captures = asked.filter((a) => a.verb === "capture").length;
    await sold(page, phone);
    let lost;
    const heard = new Promise((resolve) => { lost = resolve; });
    await page.route("**/capture", async (route) => { await route.fetch(); await route.abort(); lost(); }, { times: 1 });
    await drink(page, "Water").click();
    await heard;
    await page.click("#power");
    await page.click("#power");
    await says(page, "#screen", "Paid ¥120");
    await stands("machine", last("ask").id, "captured 120, 0 held");
    const again = asked.filter((a) => a.verb === "capture").slice(captures);
    check(new Set(again.map((a) => a.answer.id)).size === 1 && new Set(again.map((a) => a.key)).size === 1, `the drink was paid ${again.length} times`);

    // The customer agrees while the machine has no power, and the page itself goes.
    await says(page, "#screen", "Press any drink");
    await drink(page, "Water").click();
    await page.click("#screen button");
    await phone.locator(".slip").waitFor();
    await page.click("#power");
    await agree(phone);
    await ended(phone, "check");
    await stands("machine", last("ask").id, "authorized 0, 170 held");
    await page.reload();
    await says(page, "#screen", "Nothing fell");
    await stands("machine", last("ask").id, "released 0, 0 held");

    // It waits for nobody when the power fails.
    await says(page, "#screen", "Press any drink");
    await drink(page, "Water").click();
    await page.locator("#screen .qr").waitFor();
    await page.click("summary");
    await page.click("#power");
    await page.click("#power");
    await says(page, "#screen", "nothing is paid");
    await stands("machine", last("ask").id, "cancelled 0, 0 held");
    await says(page, "#screen", "Press any drink");

    // All in all, each drink that fell was paid once.
    const all = await get("machine", "?limit=100");
    const paid = all.payments.filter((p) => p.kind === "completion" && p.status === "approved").map((p) => p.amount.value).sort();
    check(paid.join() === "120,160,170", `the machine was paid ${paid}, and 120, 160 and 170 fell`);
    await context.close();
  },

  // A coffee, without a mouse.
  async keyboard() {
    const { context, page, asked, phone } = await visit("keyboard");
    const on = (want) => page.evaluate((w) => {
      let e = document.activeElement;
      if (e.contentDocument) e = e.contentDocument.activeElement;
      return e.id === w || e.textContent.trim() === w;
    }, want);
    const to = async (want) => {
      for (let i = 0; i < 120; i++) {
        await page.keyboard.press("Tab");
        if (await on(want)) return;
      }
      throw new Error(`the keyboard does not reach ${want}`);
    };
    await phone.locator("#customer").waitFor();
    for (let i = 0; i < 2; i++) { // at the till and on the phone, or the other way round
      await to("customer");
      await page.keyboard.press("Control+A");
      await page.keyboard.type(second.id);
    }
    await phone.locator("#customer").focus();
    await to("password");
    await page.keyboard.type(second.password);
    await page.keyboard.press("Enter");
    await phone.locator(".bar").waitFor();
    await to("code");
    await page.keyboard.type("2000000000015");
    await page.keyboard.press("Enter");
    await page.locator("#basket tr").waitFor();
    await to("Ask the phone");
    await page.keyboard.press("Enter");
    await phone.locator(".slip").waitFor();
    await to("password");
    await page.keyboard.type(second.password);
    await page.keyboard.press("Enter");
    await page.locator("#printer .paper").waitFor();
    await stands("till", asked[0].answer.id, "approved 450, 0 held");
    await context.close();
  },

  // The same on a telephone of one's own.
  async narrow() {
    const { context, page, asked, phone } = await visit("narrow", { viewport: narrow });
    await signIn(phone, first);
    await good(page, "Tea").click();
    await page.check("input[value=claim]");
    await page.click("#go");
    await page.click("#till-said .qr button");
    await phone.locator(".slip").waitFor();
    check(await page.locator("#phone").evaluate((e) => e.getBoundingClientRect().top < innerHeight && e.getBoundingClientRect().bottom > 0), "the phone that is held to the code is out of sight");
    await agree(phone);
    await page.locator("#printer .paper").waitFor();
    await stands("till", asked[0].answer.id, "approved 450, 0 held");
    await context.close();
  },
};

Object.assign(scenes, readerScenes({ visit, signIn, look, says, good, next, ended, stands, base }));
for (const [name, play] of Object.entries(scenes)) {
  if (only.length && !only.includes(name)) continue;
  const start = Date.now();
  try {
    await play();
  } catch (e) {
    check(false, `${name}: ${e.stack}`);
    for (const context of browser.contexts()) {
      for (const page of context.pages()) {
        for (const frame of page.frames()) faults.push(`${name}: it showed: ${await frame.locator("body").innerText().catch(() => "nothing")}`);
      }
      await context.close();
    }
  }
  console.log(`${name}: ${Date.now() - start} ms`);
}
await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
