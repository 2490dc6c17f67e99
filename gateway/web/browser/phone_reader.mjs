// The scenes in which customers pay with a card in a reader that hangs on their phone.
// The reader is device.mjs with the messages of reader.mjs, on a serial port that the
// page takes for real.
import { check, look } from "./help.mjs";
import { Device, faultNumber } from "./device.mjs";
import * as wire from "./reader.mjs";
import { lay } from "./serial.mjs";

// What the device of the scenes seals with: HPKE by @hpke/core.
const hpke = {
  card: async (offer, card) => (await wire.sealCard(offer, { track2: card.track2 })).sealed,
  pin: async (offer, card, pin) => (await wire.sealPIN(offer, card.track2.split("=")[0], pin)).sealed,
  enrol: (seed, name, code) => wire.enrol(seed, name, code),
  key: (answer) => answer.subarray(1, 33), // whether it is true is tested in pos/tether
};

export function readerScenes({ settings, phone, ask, stands, ended, kept }) {
  const { base, pictures, readers } = settings;

  // tethered signs a phone in, with a device on its cable, and enrols the device.
  async function tethered(scene, { enrol = true, ...options } = {}) {
    const device = new Device({ name: "Reader of " + scene, seal: hpke });
    const asked = [];
    const { context, page } = await phone(scene, { ...options, async before(p) {
      p.on("request", (r) => asked.push(r.url() + " " + (r.postData() ?? "")));
      await lay(p, device);
    } });
    if (enrol) {
      await page.goto(base + "/phone/#/readers");
      await page.click("button:has(.icon-reader)");
      await device.enter(readers[scene].code);
      await page.waitForSelector("#readers_list ~ .things li");
      check(device.gateway?.length === 32, "the reader was not told the gateway's key");
      await page.goto(base + "/phone/#/");
      await page.waitForSelector(".empty");
    }
    return { context, page, device, asked };
  }

  const begin = async (page) => {
    await page.waitForSelector(".slip .match");
    await page.click("button:has(.icon-reader)");
  };
  const buy = async (scene, page) => {
    const sale = await ask(readers[scene].phone, { confirm: "reader" });
    check(sale.status === "waiting", `the payment is ${sale.status} before anybody was asked: ${sale.response_code}`);
    await begin(page);
    return sale;
  };
  const heard = async (device, want) => {
    for (let i = 0; i < 100 && !device.ends.length; i++) await new Promise((r) => setTimeout(r, 50));
    check(device.ends.join() === want, `the reader was told ${device.ends.join() || "nothing"}, want ${want}`);
  };

  return {
    // A customer adds a reader, mistyping its code, and pays with card and PIN. The shop
    // knows the phone number only.
    async reader() {
      const { context, page, device, asked } = await tethered("reader", { enrol: false, expected: ["403"] });
      const { code, card, pin, phone: number } = readers.reader;
      await page.click(".bar a[href='#/settings']");
      await page.click("a[href='#/readers']");
      await page.waitForSelector(".how");
      await look(page, "readers-none", pictures, ".how");
      await page.click("button:has(.icon-reader)");
      await device.enter(code.replace(/.$/, (d) => String((Number(d) + 1) % 10)));
      await page.waitForSelector(".trouble:not([hidden])");
      check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a wrong code makes the page wider than the screen");
      await page.click("button:has(.icon-reader)");
      await device.reached("code");
      await device.enter(code);
      await page.waitForSelector(".things li:has-text('Reader of reader')");
      await look(page, "readers", pictures, ".things li");
      check(device.ends.join() === "17", `after a wrong code the reader was told ${device.ends}`);
      device.ends.length = 0;
      const sale = await ask(number, { confirm: "reader" });
      await page.goto(base + "/phone/#/");
      await page.waitForSelector(".slip .match");
      await look(page, "reader-approve", pictures, ".slip .match");
      await begin(page);
      await device.reached("card");
      await page.waitForSelector(".reading .icon-card");
      await look(page, "reader-card", pictures, ".reading .icon-card"); // each language draws it anew, and goes on
      await device.insert(card);
      await page.waitForSelector(".reading .icon-pad");
      await look(page, "reader-pin", pictures, ".reading .icon-pad");
      await stands(sale.id, "waiting");
      await device.type(pin);
      await ended(page, "check");
      check(await page.evaluate(() => document.activeElement.tagName) === "H1", "the outcome's heading has not the focus");
      await stands(sale.id, "approved");
      await heard(device, "00 settled");
      await page.click("a[href^='#/receipt/']");
      await page.waitForSelector(".paper");
      // The phone passed on what it cannot read.
      const secrets = [card.track2.split("=")[0], card.track2, pin, code];
      const passed = asked.join("\n") + device.log.map((b) => b.toString("latin1")).join("\n") + device.log.map((b) => b.toString("hex")).join("\n") + (await kept(page));
      for (const s of secrets) {
        for (const form of [s, Buffer.from(s).toString("hex"), ...[0, 1, 2].map((n) => Buffer.from(" ".repeat(n) + s).toString("base64url").slice(n ? 4 : 0, -4))]) {
          check(!passed.includes(form), "the card, its PIN or the code passed the phone in clear");
        }
      }
      check(asked.filter((a) => /reader\/(card|pin) /.test(a)).length === 2, "the phone sent more than one message for card and for PIN");
      await page.goto(base + "/phone/#/history");
      await page.waitForSelector("ul.rows a:not(.void)");
      await context.close();
    },

    // Three times the PIN is wrong: each ends a sale, the third locks the card.
    async reader_wrong() {
      const { context, page, device } = await tethered("reader_wrong");
      for (const icon of ["pad", "pad", "lock"]) {
        const sale = await buy("reader_wrong", page);
        await device.insert(readers.reader_wrong.card);
        await device.type("0000");
        await ended(page, icon);
        if (icon === "lock" || !device.looked) await look(page, "reader-" + icon, pictures, ".outcome");
        device.looked = true;
        await stands(sale.id, "cancelled");
        await page.click(".outcome a.main");
        await page.waitForSelector(".empty");
      }
      check(device.ends.join() === "55,55,75", `the reader was told ${device.ends}`);
      await context.close();
    },

    // The cable comes out, the page is loaded again, the gateway cannot be reached: each
    // time the payment goes on from where it stood.
    async reader_away() {
      const { context, page, device } = await tethered("reader_away", { expected: ["ERR_", "Failed to fetch"] });
      const sale = await buy("reader_away", page);
      await device.reached("card");
      await page.waitForSelector(".reading");
      await page.evaluate(() => self.pull());
      await page.waitForSelector(".trouble:not([hidden])");
      await look(page, "reader-lost", pictures, ".reading");
      await page.evaluate(() => self.push());
      await page.click("button:has(.icon-reader)");
      await page.waitForSelector("button:has(.icon-reader)", { state: "detached" });
      await device.reached("card");
      await context.setOffline(true);
      await device.insert(readers.reader_away.card);
      await page.waitForSelector(".reading .icon-clock:not(.time *)");
      await context.setOffline(false);
      await page.waitForSelector(".reading .icon-pad");
      await page.reload();
      await page.waitForSelector(".reading .icon-pad");
      await page.waitForSelector("button:has(.icon-reader)", { state: "detached" });
      await device.type(readers.reader_away.pin);
      await ended(page, "check");
      await stands(sale.id, "approved");
      check(new Set(device.given).size === 1, "the reader was given more than one key for one payment");
      await heard(device, "00 settled");
      await context.close();
    },

    // No: on the reader, on the phone, and by pulling the card out.
    async reader_no() {
      const { context, page, device } = await tethered("reader_no");
      for (const no of [() => device.fails(faultNumber.cancelled), () => page.click(".reading .quiet"), () => device.fails(faultNumber.removed)]) {
        const sale = await buy("reader_no", page);
        await device.reached("card");
        await page.waitForSelector(".reading");
        await no();
        await ended(page, "cross");
        await stands(sale.id, "cancelled");
        await page.click(".outcome a.main");
        await page.waitForSelector(".empty");
      }
      await context.close();
    },

    // The card is another customer's. The next time, the reader's message is not sealed
    // for this payment.
    async reader_card() {
      const { context, page, device } = await tethered("reader_card");
      const sale = await buy("reader_card", page);
      await device.insert(readers.reader.card);
      await ended(page, "card");
      await look(page, "reader-other-card", pictures, ".outcome");
      await stands(sale.id, "cancelled");
      await page.click(".outcome a.main");
      await page.waitForSelector(".empty");
      await buy("reader_card", page);
      device.sealer = { ...device.sealer, card: async () => Buffer.alloc(593, 7) }; // sealed for nobody
      await device.insert(readers.reader_card.card);
      await ended(page, "reader");
      check(device.ends.join() === "14,63", `the reader was told ${device.ends}`);
      await context.close();
    },

    // A reader that nobody enrolled, and one that was removed.
    async reader_stranger() {
      const { context, page, device } = await tethered("reader_stranger", { enrol: false, expected: ["403"] });
      const sale = await buy("reader_stranger", page);
      await page.waitForSelector(".trouble:not([hidden])");
      await look(page, "reader-stranger", pictures, ".slip .match");
      device.gateway = Buffer.alloc(32, 1); // it is somebody else's
      await begin(page);
      await page.waitForSelector(".trouble:not([hidden])");
      check(await page.isVisible("a[href='#/readers']"), "nobody says how a reader is added");
      await stands(sale.id, "waiting");
      await page.click(".quiet");
      await ended(page, "cross");
      await context.close();
    },

    // A browser that has no cable for readers says so.
    async reader_browser() {
      const { context, page } = await phone("reader_browser", { before: (p) => p.addInitScript(() => {
        delete Navigator.prototype.serial;
        delete Navigator.prototype.usb;
      }) });
      await ask(readers.reader_browser.phone, { confirm: "reader" });
      await page.waitForSelector(".slip .match");
      check(!(await page.isVisible("button:has(.icon-reader)")), "a reader is offered where there can be none");
      await page.click(".quiet");
      await ended(page, "cross");
      await context.close();
    },
  };
}
