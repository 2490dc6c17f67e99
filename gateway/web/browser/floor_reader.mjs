// The scenes of the shop floor with the customer's card reader (system R). See
// floor.mjs.
import { check } from "./help.mjs";

// readerScenes gives the scenes, made of what floor.mjs has.
export const readerScenes = ({ visit, signIn, look, says, good, next, ended, stands, base }) => {
  const shows = (page, text) => says(page, "#lines", text);
  const insert = (page, name) => page.locator("#cards button", { hasText: name }).click();
  const take = (page) => page.locator("#cards button.in").click();
  const type = async (page, keys) => { for (const key of keys) await page.locator(`.key-${key}`).click(); };

  // clear puts the reader back as it was: it is the same one in every scene.
  const clear = async () => {
    const answer = await fetch(base + "/demo/reader/card", { method: "POST", body: JSON.stringify({ card: -1 }) });
    check(answer.ok, `no card can be taken out: ${answer.status}`);
  };

  // begin buys something with the reader, until the phone asks the customer.
  async function begin(page, phone, goods = "Coffee") {
    if ((await page.locator("#basket tr").count()) === 0) await good(page, goods).click();
    await page.check("input[value=reader]");
    await page.click("#go");
    await page.locator("#till-said .number").waitFor();
    if (await phone.locator(".outcome").isVisible()) await next(phone);
    await phone.locator(".slip").waitFor();
  }

  async function agree(page, phone) {
    await phone.locator("button.main").click();
    await shows(page, "Insert your card");
  }

  return {
    // A coffee with a card and its PIN, and then whatever can come in between.
    async reader() {
      const { context, page, asked, phone } = await visit("reader");
      const last = () => asked.filter((a) => a.verb === "ask").at(-1).answer.id;
      const sent = []; // what goes between phone and reader, and between phone and gateway
      page.on("request", (r) => { if (/reader\/(link|card|pin)|reader$/.test(new URL(r.url()).pathname)) sent.push(r.postData() ?? ""); });
      await clear();
      await signIn(phone);
      await shows(page, "Ready");
      await begin(page, phone);
      check((await page.inputValue("#customer")).startsWith("+"), "the till does not ask for a phone number");
      await agree(page, phone);
      for (const want of ["Kissaten Aoi", "450 JPY"]) await shows(page, want);
      await says(page, "#reader-key", "holds the key");
      await says(page, "#hint", "Press a card");
      await insert(page, "with chip");
      await shows(page, "PIN:");
      await says(page, "#hint", "Type 1234");
      await look(page, "reader-pin");
      await type(page, "12");
      await page.locator("#pad .key-3").focus(); // a keyboard types on it too
      for (const key of ["9", "Backspace", "3", "4"]) await page.keyboard.press(key);
      await shows(page, "PIN: ****");
      await type(page, "E");
      await shows(page, "Thank you");
      await says(page, "#hint", "take it out");
      await page.locator("#printer .paper").waitFor();
      await says(page, "#till-said.good", "Paid");
      await ended(phone, "check");
      await says(page, "#reader-key", "no key");
      await stands("till", last(), "approved 450, 0 held");
      for (const part of ["#till", "#printer"]) check(!(await page.locator(part).innerText()).includes("4242"), `${part} shows something of the card`);
      await take(page);
      await shows(page, "Ready");

      // A wrong PIN ends the sale; there is one try. The next sale may have the right one.
      await begin(page, phone);
      await agree(page, phone);
      await insert(page, "with chip");
      await shows(page, "PIN:");
      await type(page, "9999E");
      await shows(page, "Wrong PIN");
      await says(page, "#till-said.bad", "Wrong PIN");
      await phone.locator(".outcome", { hasText: "Wrong PIN" }).waitFor();
      await look(page, "reader-wrong");
      await stands("till", last(), "cancelled 0, 0 held");
      await begin(page, phone); // the card is still in the slot
      await phone.locator("button.main").click();
      await shows(page, "PIN:");
      await type(page, "1234E");
      await says(page, "#till-said.good", "Paid");
      await take(page);

      // The card is pulled out while its PIN is asked for.
      await begin(page, phone);
      await agree(page, phone);
      await insert(page, "with chip");
      await shows(page, "PIN:");
      await take(page);
      await shows(page, "The card was removed");
      await says(page, "#till-said.bad", "Cancelled");
      await stands("till", last(), "cancelled 0, 0 held");

      // Refused on the reader, on the phone, and by the till.
      await begin(page, phone);
      await agree(page, phone);
      await type(page, "X");
      await says(page, "#till-said.bad", "Cancelled");
      await stands("till", last(), "cancelled 0, 0 held");
      await begin(page, phone);
      await phone.locator(".agree .quiet").click();
      await says(page, "#till-said.bad", "Cancelled");
      await ended(phone, "cross");
      await stands("till", last(), "cancelled 0, 0 held");
      await begin(page, phone);
      await agree(page, phone);
      await page.click("#till-cancel");
      await says(page, "#till-said.bad", "Cancelled");
      await shows(page, "Not paid");
      await says(page, "#reader-key", "no key");
      await stands("till", last(), "cancelled 0, 0 held");

      check(sent.length > 20, `only ${sent.length} messages were seen`);
      for (const text of sent) check(!/4242|424242|1234E|9999E/.test(text), `in clear: ${text.slice(0, 200)}`);
      await context.close();
    },

    // Other cards, and a phone whose page is loaded again at each step.
    async cards() {
      const { context, page, asked, phone } = await visit("cards");
      const last = () => asked.filter((a) => a.verb === "ask").at(-1).answer.id;
      await clear();
      await signIn(phone);
      for (const [card, said] of [["Sato", "not good"], ["expired", "has expired"]]) {
        await begin(page, phone);
        await agree(page, phone);
        await insert(page, card);
        await says(page, "#till-said.bad", said);
        await shows(page, "Not paid");
        await stands("till", last(), "cancelled 0, 0 held");
        await take(page);
      }
      await begin(page, phone);
      await agree(page, phone);
      await insert(page, "other card"); // that no PIN belongs to
      await says(page, "#till-said.good", "Paid");
      await stands("till", last(), "approved 450, 0 held");
      await take(page);

      await begin(page, phone);
      const again = async () => {
        // It goes on by itself: it plugs in, asks the reader who it is, and goes on.
        let said = 0;
        const goesOn = page.waitForResponse((r) => r.request().method() === "POST" && r.url().includes("/demo/reader/link") && ++said === 3);
        await page.frames().find((f) => new URL(f.url()).pathname === "/phone/").evaluate(() => location.reload());
        await goesOn;
      };
      await agree(page, phone);
      await again();
      await shows(page, "Insert your card");
      await insert(page, "with chip");
      await shows(page, "PIN:");
      await again();
      await shows(page, "PIN:");
      await type(page, "1234E");
      await says(page, "#till-said.good", "Paid");
      await stands("till", last(), "approved 450, 0 held");
      check((await (await fetch(base + "/demo/reader/state")).json()).key === false, "the reader keeps the key of a payment");
      await context.close();
    },
  };
};
