// The till: scans goods, asks the customer's phone, prints the receipt (system P,
// steps P-1 to P-12; system R, steps ).
import { Merchant, countdown, make, money, qr } from "./api.js";

const $ = (id) => document.getElementById(id);

export class Till {
  #basket = new Map(); // by code: { item, quantity }
  #sale; // the payment that waits

  constructor(shop, hold, { customers, reader }) {
    this.shop = shop;
    this.customers = customers;
    document.querySelector("input[value=reader]").disabled = !reader;
    this.hold = hold;
    this.merchant = new Merchant(shop);
    $("till-title").textContent = `Till of ${shop.name}`;
    for (const item of shop.items) {
      $("goods").append(make("li", {}, make("button", { type: "button", onclick: () => this.add(item.code) },
        make("span", {}, item.name), make("span", { className: "money" }, money(item.price, shop.currency)),
        make("img", { src: `/demo/bars.svg?code=${item.code}`, alt: "" }))));
    }
    $("scan").onsubmit = (e) => {
      e.preventDefault();
      this.add($("code").value.trim());
      $("code").value = "";
    };
    $("ask").onsubmit = (e) => {
      e.preventDefault();
      this.ask();
    };
    $("ask").onchange = (e) => { if (e.target.name === "how") this.choose(); };
    $("till-cancel").onclick = () => this.cancel();
    this.show();
  }

  // choose has the customer named as they name themselves: by their number here, or,
  // for the card reader, by that of their phone.
  choose() {
    const field = $("customer"), how = this.how();
    field.disabled = how === "claim";
    const who = this.customers.find((c) => field.value === c.id || field.value === c.phone);
    if (who?.phone) field.value = how === "reader" ? who.phone : who.id;
    $("customer-form").textContent = how === "reader" ? "phone number" : "number";
  }

  how() { return new FormData($("ask")).get("how"); }

  total() { return [...this.#basket.values()].reduce((sum, l) => sum + l.quantity * l.item.price, 0); }

  // add puts into the basket what the scanner read.
  add(code) {
    if (this.#sale) return;
    const item = this.shop.items.find((i) => i.code === code);
    if (!item) return this.say("bad", "This code is not in the item file.");
    const line = this.#basket.get(code) ?? { item, quantity: 0 };
    line.quantity++;
    this.#basket.set(code, line);
    this.say("", "");
    this.show();
  }

  less(code) {
    const line = this.#basket.get(code);
    if (!line || this.#sale) return;
    if (--line.quantity === 0) this.#basket.delete(code);
    this.show();
  }

  show() {
    const rows = [...this.#basket.values()].map(({ item, quantity }) => make("tr", {},
      make("th", { scope: "row" }, `${quantity} × ${item.name}`),
      make("td", {}, make("button", { type: "button", className: "less", disabled: Boolean(this.#sale), onclick: () => this.less(item.code), ariaLabel: `One ${item.name} less` }, "−")),
      make("td", { className: "money" }, money(quantity * item.price, this.shop.currency))));
    $("basket").replaceChildren(...rows);
    $("total").textContent = money(this.total(), this.shop.currency);
    $("go").disabled = this.#basket.size === 0 || Boolean(this.#sale);
    $("till-cancel").hidden = !this.#sale;
  }

  say(kind, ...what) {
    $("till-said").className = `said ${kind}`;
    $("till-said").replaceChildren(...what);
  }

  async ask() {
    const items = [...this.#basket.values()].map(({ item: { code, name, price }, quantity }) => ({ code, name, price, quantity }));
    const confirm = this.how();
    $("go").disabled = true;
    let stop = () => {};
    try {
      this.#sale = await this.merchant.ask({
        kind: "purchase", amount: this.total(), items, confirm, ...(confirm !== "claim" ? { customer: $("customer").value.trim() } : {}),
      });
      this.show();
      stop = this.wait();
      await this.done(await this.merchant.decided(this.#sale));
    } catch (e) {
      this.say("bad", e.message);
    } finally {
      stop();
      this.#sale = undefined;
      this.show();
    }
  }

  // wait shows that the customer is asked.
  wait() {
    const sale = this.#sale;
    if (sale.status !== "waiting") return () => {};
    const left = make("b", { className: "left" });
    this.say("waiting", make("p", {}, "Waiting for the customer. ", left),
      make("p", {}, "The phone must show the number ", make("b", { className: "number" }, sale.number)),
      ...(sale.claim ? [qr(sale.claim.url, this.hold)] : []));
    return countdown(left, sale.confirm_by);
  }

  async cancel() {
    try {
      await this.merchant.about(this.#sale, "cancel");
    } catch (e) {
      this.say("bad", e.message);
    }
  }

  async done(payment) {
    if (payment.status !== "approved") {
      return this.say("bad", make("p", {}, make("b", {}, words(payment)), ` (${payment.response_code})`));
    }
    this.say("good", make("p", {}, make("b", {}, "Paid. "), `Approval code ${payment.approval_code}. Hand over the goods.`));
    this.#basket.clear();
    this.print(await this.merchant.receipt(payment).catch((e) => `The receipt cannot be printed: ${e.message}`));
  }

  print(text) {
    $("printer").querySelector("p")?.remove();
    $("printer").prepend(make("pre", { className: "paper" }, text));
    $("printer").scrollTop = 0;
  }
}

// words says what became of a payment, for the person at the till.
export const words = (payment) => ({
  cancelled: {
    "04": "The card is not good.", "14": "The card is not good.", "41": "The card is not good.", "43": "The card is not good.",
    "51": "The account does not cover it.", "54": "The card has expired.", "55": "Wrong PIN.", "57": "The card is not allowed to do this.",
    "61": "Over the card's limit.", "63": "The card reader could not be trusted.", "65": "The card was used too often for one day.", "68": "Nobody agreed in time.",
    "75": "Too many wrong tries.",
  }[payment.response_code] ?? "Cancelled.",
  expired: "Nobody agreed in time.",
  reversed: "Undone.",
  declined: {
    "05": "This customer cannot be asked: nobody is signed in with a phone.", "51": "The account does not cover it.",
    "65": "The customer was asked too often, or has another payment open. Wait a few minutes.", "12": "There is no exchange rate for the customer's account.",
  }[payment.response_code] ?? "Declined.",
})[payment.status] ?? payment.response_text;
