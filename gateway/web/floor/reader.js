// The customer's card reader: a display, a pad and a slot (system R). It is a device of
// its own that runs beside the gateway; this page lends it eyes and hands. What it says
// to the phone goes over another line (/demo/reader/link), and is sealed.
import { make, pause } from "./api.js";

const $ = (id) => document.getElementById(id);
const keys = ["1", "2", "3", "X", "4", "5", "6", "<", "7", "8", "9", "E", "0"];
const names = { X: "Cancel", E: "OK", "<": "Clear" };

export class Reader {
  #n = ""; // what is shown already
  #card = -1;

  constructor({ cards }) {
    this.cards = cards;
    for (const key of keys) {
      $("pad").append(make("button", { type: "button", className: `key key-${key === "<" ? "C" : key}`, onclick: () => this.post("press", { key }) }, names[key] ?? key));
    }
    cards.forEach((card, index) => $("cards").append(make("li", {}, make("button", {
      type: "button", onclick: () => this.post("card", { card: index === this.#card ? -1 : index }),
    }, make("span", {}, card.name), make("span", { className: "small" }, card.pin ? `PIN ${card.pin}` : "no PIN")))));
    // A real keyboard types on the pad while the focus is in it.
    $("pad").onkeydown = (e) => {
      const key = { Escape: "X", Backspace: "<" }[e.key] ?? (/^\d$/.test(e.key) ? e.key : undefined);
      if (!key) return;
      e.preventDefault();
      this.post("press", { key });
    };
    this.watch();
  }

  // post does something with the reader. What comes of it, the display shows.
  async post(what, body) {
    await fetch(`/demo/reader/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }).catch(() => {});
  }

  // watch shows what the reader shows, as long as the page is open.
  async watch() {
    for (;;) {
      try {
        const answer = await fetch(`/demo/reader/state?after=${this.#n}`, { cache: "no-store" });
        if (!answer.ok) throw new Error(`the gateway answers ${answer.status}`);
        this.show(await answer.json());
      } catch {
        $("lines").textContent = "The reader cannot be seen";
        this.#n = "";
        await pause(2000);
      }
    }
  }

  // hint says what to do next. Nobody but the terminal has the data folder's name.
  hint(phase, card, lines) {
    if (lines.includes("Too many wrong PINs")) return "This card is locked. The terminal in which the demo runs shows how to unlock it.";
    switch (phase) {
      case "code": return "Type the code of kessai reader invite, then OK.";
      case "card": return "Press a card to put it in.";
      case "pin": return `Type ${this.cards[card]?.pin || "the PIN"}, then OK.`;
      case "enrols": case "card_sent": case "pin_sent": return "The gateway looks at it.";
    }
    if (card < 0) return "Choose the card reader at the till, then agree on the phone.";
    return phase === "over" ? "Press the card again to take it out." : "This card is used for the next payment. Press it again to take it out.";
  }

  show({ n, lines, phase, card, plugged, key }) {
    this.#n = n;
    this.#card = card;
    $("hint").textContent = this.hint(phase, card, lines);
    $("lines").replaceChildren(...lines.map((line) => make("span", {}, line || "\u00a0")));
    $("slot").textContent = card < 0 ? "" : this.cards[card].name;
    $("slot").classList.toggle("full", card >= 0);
    $("plugged").textContent = plugged ? "Plugged into the phone" : "Not plugged in";
    $("reader-key").textContent = key ? "It holds the key of this payment." : "It holds no key.";
    [...$("cards").querySelectorAll("button")].forEach((b, index) => {
      b.classList.toggle("in", index === card);
      b.setAttribute("aria-pressed", String(index === card));
    });
  }
}
