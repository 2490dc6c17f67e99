// Makes vectors.json, with the reader in gateway/web/browser/reader.mjs: nothing of
// it is shared with the Go package that the vectors hold. Everything random is made
// from its name, so that running it again gives the same file.
//
//   node vectors.mjs > vectors.json    (after npm install in gateway/web/browser)
import { createHash } from "node:crypto";
import * as r from "../../../gateway/web/browser/reader.mjs";

const { hex, bytes } = r;
const made = (name, n = 32) => createHash("shake256", { outputLength: n }).update(`kessai vectors: ${name}`).digest();
const gateway = made("gateway"), device = made("reader"), other = made("other reader");
const reader = r.readerID(r.publicOf(device));

// Key pairs of payments. A private key is given as RFC 9180 serializes it.
const pairs = {};
for (const suite of [1, 2]) {
  const kem = r.hpke(suite).kem;
  const pair = await kem.deriveKeyPair(Uint8Array.from(made(`payment ${suite}`)).buffer);
  pairs[suite] = {
    private: hex(new Uint8Array(await kem.serializePrivateKey(pair.privateKey))),
    public: Buffer.from(await kem.serializePublicKey(pair.publicKey)),
  };
}

const base = {
  suite: 1, transaction: 4711, merchant: "KISSATEN-AOI", shop: "Kissaten Aoi", amount: 1280, currency: 392, letters: "JPY", decimals: 0,
  reader, cardFor: 60, pinFor: 60, publicKey: pairs[1].public,
};
const variants = {
  "the usual one": {},
  "hybrid": { suite: 2, publicKey: pairs[2].public },
  "a shop in Japanese": { shop: "喫茶 葵 ☕" },
  "the longest": {
    suite: 2, publicKey: pairs[2].public, transaction: 999999999999, merchant: "A merchant of15", shop: "𠮷".repeat(80), amount: 999999999999,
    currency: 414, letters: "KWD", decimals: 3, cardFor: 3600, pinFor: 3600,
  },
  "the shortest": { transaction: 1, merchant: "M", shop: "S", amount: 1, currency: 978, letters: "EUR", decimals: 2, cardFor: 1, pinFor: 1 },
  "another reader": { reader: r.readerID(r.publicOf(other)) },
};
const offers = Object.entries(variants).map(([name, v]) => {
  const o = { ...base, ...v };
  const encoding = r.encodeOffer(o);
  return {
    name, suite: r.suites[o.suite].name, transaction: o.transaction, merchant: o.merchant, shop: o.shop, amount: o.amount, currency: o.letters,
    decimals: o.decimals, reader: hex(o.reader), card_for: o.cardFor, pin_for: o.pinFor, public: hex(o.publicKey), private: pairs[o.suite].private,
    encoding: hex(encoding), hash: hex(r.sha256(encoding)), to_sign: hex(r.offerToSign(encoding)), signature: hex(r.signWith(gateway, r.offerToSign(encoding))),
  };
});

// Offers that nobody may make and nobody may take.
const wrong = {
  "version 0": (b) => b.with(0, 0), "version 2": (b) => b.with(0, 2), "suite 0": (b) => b.with(1, 0), "suite 3": (b) => b.with(1, 3),
  "cut off": (b) => b.slice(0, -1), "one byte behind it": (b) => [...b, 0], "nothing": () => [],
};
const wrongFields = {
  "the suite of another key": { suite: 2 }, "transaction 0": { transaction: 0 }, "transaction of 13 digits": { transaction: 10 ** 12 },
  "no merchant": { merchant: "" }, "merchant of 16": { merchant: "A merchant of 16" }, "merchant with a space behind": { merchant: "M " },
  "merchant with a control": { merchant: "M\n" }, "no shop": { shop: "" }, "shop of 81": { shop: "S".repeat(81) }, "shop with a control": { shop: "S\u0085" },
  "amount 0": { amount: 0 }, "amount of 13 digits": { amount: 10 ** 12 }, "currency that is none": { currency: 1, letters: "XXX" },
  "letters of another currency": { letters: "EUR" }, "digits for letters": { letters: "392" }, "decimals of another currency": { decimals: 2 },
  "no time for the card": { cardFor: 0 }, "too long for the card": { cardFor: 3601 }, "no time for the PIN": { pinFor: 0 },
  "too long for the PIN": { pinFor: 3601 }, "a short key": { publicKey: pairs[1].public.subarray(1) },
  "a key that is no point": { publicKey: Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 1)]) },
  "a key with its point written short": { publicKey: Buffer.concat([Buffer.from([2 + (pairs[1].public[64] & 1)]), pairs[1].public.subarray(1, 33)]) },
};
const refusedOffers = [
  ...Object.entries(wrong).map(([why, f]) => ({ why, encoding: hex(f(new Uint8Array(r.encodeOffer(base)))) })),
  ...Object.entries(wrongFields).map(([why, f]) => ({ why, encoding: hex(r.encodeOffer({ ...base, ...f })) })),
  { why: "shop that is no UTF-8", encoding: hex(r.encodeOffer(base)).replace(hex(Buffer.from("Kissaten Aoi")), hex(Buffer.from("Kissaten \xff\xfeA", "latin1"))) },
];

// A reader that has no table of currencies cannot tell what is wrong with some.
for (const o of refusedOffers) {
  const taken = await r.decodeOffer(bytes(o.encoding)).then(() => true, () => false);
  if (taken) o.currencies = true;
  if (taken !== ["currency that is none", "letters of another currency", "decimals of another currency"].includes(o.why)) throw new Error(`${o.why}: taken ${taken}`);
}
for (const o of offers) await r.decodeOffer(bytes(o.encoding));

// Sealed messages. ekm is what the ephemeral key is made from: RFC 9180's ikmE, or for
// X-Wing the 64 bytes of its encapsulation.
const emv = [
  "5a084111111111111111", "5f2403311228", "5f340101", "9f26081122334455667788", "9f270180", "9f100706010a03a0a800", "9f36020042", "9f370401020304",
  "82021980", "95050000008000", "9a03261122", "9c0100", "9f0206000000001280", "9f0306000000000000", "5f2a020392", "9f1a020392",
].join("");
const cards = {
  "track 2": { track2: "4242424242424242=31122010000000000" },
  "track 2 with sentinels": { track2: ";4012888888881881=3112=0?" },
  "the longest number": { track2: "6304000000000000000=3112201" },
  "chip": { emv },
};
const pans = { "track 2": "4242424242424242", "track 2 with sentinels": "4012888888881881", "the longest number": "6304000000000000000", "chip": "4111111111111111" };
const sealed = [];
for (const offer of offers.slice(0, 3)) {
  const encoding = bytes(offer.encoding), suite = offer.suite === "p256" ? 1 : 2;
  for (const [name, card] of Object.entries(cards)) {
    const add = (step, ekm, m, more) => {
      const enc = r.suites[suite].enc;
      sealed.push({
        offer: offer.name, name, step, info: hex(r.info(step, encoding)), ekm: hex(ekm), ...more, plain: hex(m.plain), enc: hex(m.sealed.subarray(0, enc)),
        ciphertext: hex(m.sealed.subarray(enc)), to_sign: hex(r.toSign(step, encoding, m.sealed)), signature: hex(r.signWith(device, r.toSign(step, encoding, m.sealed))),
      });
    };
    const ekm = (step) => made(`${offer.name}, ${name}, ${step}`, suite === 1 ? 32 : 64);
    add(r.CARD, ekm(1), await r.sealCard(encoding, card, ekm(1)), { card });
    const pin = { "track 2": "1234", "the longest number": "123456789012" }[name] ?? "00099", random = made(`${name}, random`, 8);
    const m = await r.sealPIN(encoding, pans[name], pin, random, ekm(2));
    add(r.PIN, ekm(2), m, { pan: pans[name], pin, random: hex(random), exported: hex(m.exported) });
  }
}

// The first two blocks are the examples of ANSI X9.24-3 with their published results.
const blocks = [
  ["ANSI X9.24-3, transaction 1", "af8cb133a78f8dc2d1359f18527593fb", "4111111111111111", "1234", "2f69adde2e9e7ace", "a912150391ab65a67e52883d81ce2d15"],
  ["ANSI X9.24-3, transaction 2", "d30bdc73ec9714b000bec66bdb7b6d09", "4111111111111111", "1234", "2f69adde2e9e7ace", "52a00503bd34ba1383f6a7ee9fe2547f"],
  ["shortest number", hex(made("block key 1", 16)), "400000000002", "0000", "0000000000000000"],
  ["longest number and PIN", hex(made("block key 2", 16)), "6304000000000000000", "987654321098", "ffffffffffffffff"],
  ["odd PIN", hex(made("block key 3", 16)), "30569309025904", "12345", "0123456789abcdef"],
].map(([name, key, pan, pin, random, published]) => {
  const block = hex(r.pinBlock(bytes(key), pan, pin, bytes(random)));
  if (published && published !== block) throw new Error(`${name}: ${block}, published is ${published}`);
  return { name, key, pan, pin, random, block };
});

const code = "314159265358979323846264", nonce = made("nonce", 16), name = "Suzuki 1";
const enrolment = {
  code, code_as_shown: code.match(/..../g).join(" "), key: hex(r.enrolKey(code)), name, nonce: hex(nonce),
  enrol: hex(r.enrol(device, name, code, nonce)), enrolled: hex(r.enrolled(code, nonce, r.publicOf(device), r.publicOf(gateway))),
};

// Frames, and lines with frames and other things on them.
const signed = (m, s) => hex(Buffer.concat([r.field(m), r.field(s)]));
const can = r.number(0b111011, 2);
const hello = (state, enrolled) => hex(Buffer.concat([reader, r.publicOf(device), r.field(Buffer.from(name)), Buffer.from([state, enrolled]), can]));
const bodies = [
  ["HELLO, phone", 0x01, ""], ["ENROL, phone", 0x02, ""], ["ENROLLED", 0x03, enrolment.enrolled],
  ["OFFER", 0x04, signed(bytes(offers[0].encoding), bytes(offers[0].signature))], ["OFFER, the longest", 0x04, signed(bytes(offers[3].encoding), bytes(offers[3].signature))],
  ["ASKPIN", 0x05, ""], ["END, settled", 0x06, hex(Buffer.from("00\x01"))], ["END, wrong PIN", 0x06, hex(Buffer.from("55\0"))],
  ["HELLO, reader", 0x81, hello(0, 1)], ["HELLO, reader not enrolled", 0x81, hello(0, 0)], ["HELLO, reader waits for a PIN", 0x81, hello(4, 1)],
  ["ENROL, reader", 0x82, enrolment.enrol],
  ["CARD", 0x84, signed(bytes(sealed[0].enc + sealed[0].ciphertext), bytes(sealed[0].signature))],
  ["PIN", 0x85, signed(bytes(sealed[1].enc + sealed[1].ciphertext), bytes(sealed[1].signature))],
  ["ENDED", 0x86, ""], ["ERROR, cancelled", 0x8f, "09"],
];
const frames = bodies.map(([name, type, body]) => ({ name, type, body, frame: hex(r.frame(type, bytes(body))) }));
const f = (name) => frames.find((x) => x.name === name).frame;
const a = f("HELLO, phone"), z = f("ASKPIN"), end = f("END, settled");
const line = (name, stream, ...got) => ({ name, stream, frames: got });
const lines = [
  line("two frames", a + z, a, z),
  line("noise before, between and behind", `00ff4b${a}4b4b52${""}00${z}deadbeef`, a, z),
  line("a wrong checksum", `${end.slice(0, -2)}00${a}`, a),
  line("a frame inside of one with a wrong checksum", `4b5201050008${a}0000${z}`, a, z),
  line("another version", `4b5202010000ffff${a}`, a),
  line("type 0", `${hex(r.frame(0))}${a}`, a),
  line("longer than any frame", `4b5201041001${a}`, a),
  line("a mark cut off by a mark", `4b${a}4b5201${z}`, a, z),
  line("nothing but noise", "00112233445566778899"),
  line("not whole yet", end.slice(0, -2)),
];

console.log(JSON.stringify({
  crc: { of: hex(Buffer.from("123456789")), is: hex(r.number(r.crc16(Buffer.from("123456789")), 2)) },
  keys: {
    gateway_seed: hex(gateway), gateway: hex(r.publicOf(gateway)), reader_seed: hex(device), reader: hex(r.publicOf(device)), reader_id: hex(reader),
    other_seed: hex(other), other: hex(r.publicOf(other)),
  },
  enrolment, offers, refused_offers: refusedOffers, sealed, pin_blocks: blocks, frames, lines,
}, null, 1));
