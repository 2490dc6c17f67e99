// A card reader on a cable, for the tests of the phone: it has a slot, a pad and the
// line, and does what docs/READER.md says of a reader. How it seals is handed in, so
// that what needs no gateway needs no HPKE either.
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign, verify } from "node:crypto";
import { fields, frame, say, scanner, split, states, told } from "../phone/tether.js";

const der = { seed: Buffer.from("302e020100300506032b657004220420", "hex"), key: Buffer.from("302a300506032b6570032100", "hex") };
const fault = { frame: 1, state: 4, stranger: 5, offer: 6, enrol: 7, cancelled: 9, removed: 11 };
export const faultNumber = fault;

// blind seals nothing: it gives chance of the length that a sealed message has.
const blind = { card: () => randomBytes(593), pin: () => randomBytes(97), enrol: () => randomBytes(160), key: () => Buffer.alloc(32) };

export class Device {
  // seal has card(offer, card), pin(offer, card, pin), enrol(seed, name, code) and
  // key(enrolled, code), which gives the gateway's key or nothing.
  constructor({ name = "Test reader", gateway, seal = blind } = {}) {
    Object.assign(this, { name, gateway, sealer: seal, state: "idle", seed: randomBytes(32), log: [], ends: [], given: [], deaf: 0 }); // deaf: frames that it does not get
    this.key = createPublicKey(this.#own()).export({ format: "der", type: "spki" }).subarray(der.key.length);
    this.id = createHash("sha256").update(this.key).digest("hex").slice(0, 16);
    this.watchers = new Set();
  }

  #own() { return createPrivateKey({ key: Buffer.concat([der.seed, this.seed]), format: "der", type: "pkcs8" }); }

  // plug puts the cable in: out takes what the reader says.
  plug(out) {
    this.out = out;
    this.scan = scanner();
  }

  // hears takes what comes over the cable.
  async hears(bytes) {
    for (const f of this.scan(Uint8Array.from(bytes))) {
      if (this.deaf-- > 0) this.#say(told.error, [fault.frame]);
      else await this.#does(f);
    }
  }

  #say(type, body = new Uint8Array()) {
    const bytes = frame(type, body);
    this.log.push(Buffer.from(bytes));
    this.out?.(bytes);
  }

  #to(state) {
    this.state = state;
    for (const f of [...this.watchers]) f();
  }

  // reached waits until the reader does something, such as waiting for a card.
  reached(state) {
    return new Promise((resolve) => {
      const look = () => { if (this.state === state) { this.watchers.delete(look); resolve(); } };
      this.watchers.add(look);
      look();
    });
  }

  fails(number) {
    this.offer = undefined;
    this.#say(told.error, [number]);
    this.#to("idle");
  }

  #hello() {
    const name = Buffer.from(this.name);
    const own = [states.indexOf(this.state), this.gateway ? 1 : 0, 0, 0x3f];
    this.#say(told.hello, Buffer.concat([Buffer.from(this.id, "hex"), this.key, fields(name), Buffer.from(own)]));
  }

  async #does({ type, body }) {
    switch (type) {
      case say.hello: return this.#hello();
      case say.enrol: return this.#to("code");
      case say.enrolled: {
        const key = this.sealer.key(body, this.code);
        if (!key) return this.fails(fault.enrol);
        this.gateway = key;
        this.#to("idle");
        return this.#hello();
      }
      case say.offer: return this.#offered(body);
      case say.askPIN: return this.offer ? this.#to("pin") : this.#say(told.error, [fault.state]);
      case say.end:
        this.offer = undefined;
        this.ends.push(Buffer.from(body.subarray(0, 2)).toString() + (body[2] ? " settled" : ""));
        this.#say(told.ended);
        return this.#to("idle");
    }
  }

  #offered(body) {
    if (!this.gateway) return this.#say(told.error, [fault.stranger]);
    const [offer, signature] = split(body, 2);
    const key = createPublicKey({ key: Buffer.concat([der.key, this.gateway]), format: "der", type: "spki" });
    const true_ = this.sealer === blind || verify(null, Buffer.concat([Buffer.from("kessai reader offer v1\0"), offer]), key, signature);
    if (!true_) return this.#say(told.error, [fault.offer]);
    this.offer = Buffer.from(offer);
    this.given.push(this.offer.toString("hex"));
    return this.#to("card");
  }

  #sealed(type, step, sealed) {
    const hash = (b) => createHash("sha256").update(b).digest();
    const text = Buffer.concat([Buffer.from("kessai reader sealed v1\0"), Buffer.from([step]), hash(this.offer), hash(sealed)]);
    this.#say(type, fields(sealed, sign(null, text, this.#own())));
  }

  // What its owner does.
  async insert(card) {
    await this.reached("card");
    this.card = card;
    const sealed = await this.sealer.card(this.offer, card);
    this.#to("card_sent");
    this.#sealed(told.card, 1, sealed);
  }

  async type(pin) {
    await this.reached("pin");
    const sealed = await this.sealer.pin(this.offer, this.card, pin);
    this.#to("pin_sent");
    this.#sealed(told.pin, 2, sealed);
  }

  async enter(code) {
    await this.reached("code");
    this.code = code;
    this.#say(told.enrol, await this.sealer.enrol(this.seed, this.name, code));
  }
}
