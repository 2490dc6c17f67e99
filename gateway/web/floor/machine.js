// The vending machine: nobody stands by it (system P, steps P-3 and P-14). It holds
// the price of its dearest drink, lets the customer choose, reports what fell, and
// the rest is released.
//
// What it must not forget when the power fails stands in its memory: the payment and
// what its sensor has counted. It reports under a key that follows from the payment,
// so that a report that is sent twice counts once. What it never reports is not paid:
// the hold ends by itself. pos/sim/vending.go is the same machine in Go.
import { Merchant, countdown, make, money, pause, qr } from "./api.js";
import { words } from "./till.js";

const $ = (id) => document.getElementById(id);

// The memory is that of this window: another one is another machine.
const memory = {
  get sale() { return JSON.parse(sessionStorage.getItem("kessai-machine") ?? "null"); },
  set sale(what) { sessionStorage.setItem("kessai-machine", JSON.stringify(what)); },
};

export class Machine {
  #on = true;
  #busy = false;
  #choice; // resolves with the drink that is chosen
  #run = 0; // goes up when the power fails: what ran before has no effect any more

  constructor(shop, hold) {
    this.shop = shop;
    this.hold = hold;
    this.merchant = new Merchant(shop);
    for (const item of shop.items) {
      $("drinks").append(make("li", {}, make("button", { type: "button", onclick: () => this.press(item) },
        make("span", { className: "can", ariaHidden: "true" }), make("span", {}, item.name), make("span", { className: "money" }, money(item.price, shop.currency)))));
    }
    $("power").onclick = () => (this.#on ? this.cut() : this.start());
    this.start();
  }

  say(...what) { $("screen").replaceChildren(...what); }

  // start begins anew, and first reports what was left unreported.
  async start() {
    this.#on = this.#busy = true;
    const run = ++this.#run;
    this.wear();
    this.say("Starting…");
    try {
      await this.settle(run);
    } catch (e) {
      if (run === this.#run) this.say(make("p", {}, e.message)); // it tries again before the next sale
      await pause(3000);
    }
    if (run === this.#run) this.idle();
  }

  // wear shows whether there is power.
  wear() {
    $("power").textContent = this.#on ? "Cut the power" : "Switch it on again";
    for (const b of $("drinks").querySelectorAll("button")) b.disabled = !this.#on;
    $("screen").classList.toggle("off", !this.#on);
  }

  idle() {
    this.#busy = false;
    this.say(make("p", {}, "Press any drink to begin. Pay with your phone."));
  }

  cut() {
    this.#on = false;
    this.#run++;
    this.#choice = undefined;
    this.wear();
    this.say("No power");
  }

  press(item) {
    if (this.#choice) return this.#choice(item);
    if (!this.#busy) this.sell();
  }

  async sell() {
    this.#busy = true;
    const run = this.#run;
    $("flap").replaceChildren();
    let stop = () => {};
    try {
      await this.settle(run); // what could not be reported before
      const dearest = Math.max(...this.shop.items.map((i) => i.price));
      const asked = await this.merchant.ask({ kind: "pre_authorization", amount: dearest, confirm: "claim" });
      if (run !== this.#run) return;
      memory.sale = { payment: asked.id, fallen: [] };
      const left = make("b", { className: "left" });
      this.say(make("p", {}, "Scan to pay. ", left), qr(asked.claim.url, this.hold), make("p", {}, "Number ", make("b", { className: "number" }, asked.number)));
      stop = countdown(left, asked.confirm_by);
      const payment = await this.merchant.decided(asked);
      stop();
      if (run !== this.#run) return;
      if (payment.status !== "authorized") {
        memory.sale = null;
        this.say(make("p", {}, words(payment)));
        await pause(3000);
        return;
      }
      await this.dispense(run);
    } catch (e) {
      if (run === this.#run) this.say(make("p", {}, e.message));
      await pause(3000);
    } finally {
      stop();
      if (run === this.#run) this.idle();
    }
  }

  // dispense lets the customer choose, and reports what the sensor saw fall.
  async dispense(run) {
    this.say(make("p", {}, make("b", {}, "Thank you. Choose a drink.")));
    const item = await new Promise((resolve) => { this.#choice = resolve; });
    this.#choice = undefined;
    if (run !== this.#run) return;
    this.say(make("p", {}, `${item.name} is coming…`));
    await pause(900);
    if (run !== this.#run) return;
    const sale = memory.sale;
    const stuck = $("jam").checked;
    $("jam").checked = false;
    if (!stuck) {
      sale.fallen.push({ name: item.name, price: item.price });
      memory.sale = sale;
      $("flap").replaceChildren(make("span", { className: "can", ariaHidden: "true" }), ` ${item.name}`);
    }
    if ($("mute").checked) {
      $("mute").checked = false;
      return this.cut();
    }
    await this.settle(run);
  }

  // settle ends the sale in the memory, if there is one: what fell is paid, and the
  // rest of what was held is released.
  async settle(run) {
    const sale = memory.sale;
    if (!sale) return;
    const said = await this.report(sale).catch((e) => {
      if (e.status === 404) return "The gateway does not know the last sale any more.";
      throw e;
    });
    if (run !== this.#run) return; // the power failed before the answer was heard
    memory.sale = null;
    this.say(make("p", {}, said));
    await pause(2500);
  }

  // report says what fell, and gives what is to be told about it. It may be said
  // again and again.
  async report({ payment, fallen }) {
    const path = `/v1/payments/${payment}`;
    let now = await this.merchant.call("GET", path);
    if (now.status === "waiting") { // for a machine that was switched off
      await this.merchant.call("POST", `${path}/cancel`, {}, { key: `cancel-${payment}` });
      now = await this.merchant.call("GET", path); // the customer may have been quicker
    }
    if (!["authorized", "captured", "released"].includes(now.status)) return "The last sale was over before it was reported: nothing is paid.";
    const value = fallen.reduce((sum, i) => sum + i.price, 0);
    const { currency } = this.shop;
    const answer = await this.merchant.call("POST", path + (value ? "/capture" : "/release"), value ? { amount: { value, currency } } : {}, { key: `report-${payment}` });
    if (answer.response_code !== "00") return "The hold had ended before the machine could report: nothing is paid.";
    return value ? `Paid ${money(answer.amount.value, currency)}. The rest is released.` : "Nothing fell, and nothing is paid. Sorry.";
  }
}
