// The vending machine: nobody stands by it (system P, steps P-3 and P-14). It holds
// the price of its dearest drink, lets the customer choose, reports what fell, and
// the rest is released.
//
// What it must not forget when the power fails stands in its memory: the payment,
// what its sensor has counted, and the key under which it reports, so that a report
// that is sent twice counts once. What it never reports is not paid: the hold ends by
// itself.
import { Merchant, Problem, countdown, make, money, pause, qr } from "./api.js";
import { words } from "./till.js";

const $ = (id) => document.getElementById(id);
const memory = "kessai-machine";

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

  remember(what) { localStorage.setItem(memory, JSON.stringify(what)); }
  forget() { localStorage.removeItem(memory); }

  say(...what) { $("screen").replaceChildren(...what); }

  // start begins anew, and first reports what was left unreported.
  async start() {
    this.#on = true;
    const run = ++this.#run;
    $("power").textContent = "Cut the power";
    this.say("Starting…");
    const left = JSON.parse(localStorage.getItem(memory) ?? "null");
    if (left) await this.report(left, run);
    if (run === this.#run) this.idle();
  }

  idle() {
    this.#busy = false;
    this.say(make("p", {}, "Press any drink to begin. Pay with your phone."));
  }

  cut() {
    this.#on = false;
    this.#run++;
    this.#choice = undefined;
    $("power").textContent = "Switch it on again";
    $("screen").replaceChildren();
  }

  press(item) {
    if (!this.#on) return;
    if (this.#choice) return this.#choice(item);
    if (!this.#busy) this.sell();
  }

  async sell() {
    this.#busy = true;
    const run = this.#run;
    $("flap").replaceChildren();
    let stop = () => {};
    try {
      const dearest = Math.max(...this.shop.items.map((i) => i.price));
      const asked = await this.merchant.ask({ kind: "pre_authorization", amount: dearest, confirm: "claim" });
      if (run !== this.#run) return;
      this.remember({ payment: asked, fallen: [], key: crypto.randomUUID() });
      const left = make("b", { className: "left" });
      this.say(make("p", {}, "Scan to pay. ", left), qr(asked.claim.url, this.hold), make("p", {}, "Number ", make("b", { className: "number" }, asked.number)));
      stop = countdown(left, asked.confirm_by);
      const payment = await this.merchant.decided(asked);
      stop();
      if (run !== this.#run) return;
      if (payment.status !== "authorized") {
        this.forget();
        this.say(make("p", {}, words(payment)));
        await pause(3000);
        return;
      }
      await this.dispense(payment, run);
    } catch (e) {
      if (run === this.#run) this.say(make("p", {}, e.message));
      await pause(3000);
    } finally {
      stop();
      if (run === this.#run) this.idle();
    }
  }

  // dispense lets the customer choose, and reports what the sensor saw fall.
  async dispense(payment, run) {
    this.say(make("p", {}, make("b", {}, "Thank you. Choose a drink.")));
    const item = await new Promise((resolve) => { this.#choice = resolve; });
    this.#choice = undefined;
    if (run !== this.#run) return;
    this.say(make("p", {}, `${item.name} is coming…`));
    await pause(900);
    if (run !== this.#run) return;
    const state = JSON.parse(localStorage.getItem(memory));
    const stuck = $("jam").checked;
    $("jam").checked = false;
    if (!stuck) {
      state.fallen.push({ code: item.code, name: item.name, price: item.price });
      this.remember(state);
      $("flap").replaceChildren(make("span", { className: "can", ariaHidden: "true" }), ` ${item.name}`);
    }
    if ($("mute").checked) {
      $("mute").checked = false;
      return this.cut();
    }
    await this.report(state, run);
    await pause(2500);
  }

  // report says what fell: that is paid, and the rest of what was held is released.
  async report(state, run) {
    const value = state.fallen.reduce((sum, i) => sum + i.price, 0);
    const { id } = state.payment;
    const path = `/v1/payments/${id}/` + (value ? "capture" : "release");
    const body = value ? { amount: { value, currency: this.shop.currency } } : {};
    try {
      let now = await this.merchant.call("GET", `/v1/payments/${id}`);
      if (now.status === "waiting") { // it waits for a machine that was switched off
        await this.merchant.about(state.payment, "cancel");
        now = { status: "cancelled" };
      }
      const answer = now.status === "authorized" ? await this.merchant.call("POST", path, body, { key: state.key }) : now;
      this.forget();
      if (run !== this.#run) return;
      if (now.status !== "authorized") this.say(make("p", {}, "The last sale was over before it was reported: nothing is paid."));
      else if (value) this.say(make("p", {}, `Paid ${money(answer.amount.value, this.shop.currency)}. The rest is released.`));
      else this.say(make("p", {}, "Nothing fell, and nothing is paid. Sorry."));
    } catch (e) {
      if (e instanceof Problem) this.forget(); // it was heard, and refused
      if (run === this.#run) this.say(make("p", {}, e.message));
    }
    await pause(1500);
  }
}
