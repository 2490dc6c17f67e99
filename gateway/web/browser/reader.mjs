// A card reader, written from docs/READER.md alone: nothing of it is shared with the
// gateway or with its simulated reader, and HPKE comes from @hpke/core. Tests seal with
// it what the gateway must open, and the test vectors are made with it.
//
//   node reader.mjs < requests.json
//
// Each line is a request, and gives a line. Bytes are hexadecimal. A request has "seed", of the reader's Ed25519 key, and one of:
//
//   "offer", "offer_signature", "gateway" (its public key) and either "card", which is
//   {"track2": text} or {"emv": bytes}, or "pin" and "pan"; gives "sealed", "signature"
//   "code" and "name": the reader enrols itself; gives "enrol"
//   "code", "enrol" and "enrolled", the gateway's answer to it; gives "gateway"
import { createCipheriv, createHash, createHmac, createPrivateKey, createPublicKey, hkdfSync, randomBytes, sign, verify } from "node:crypto";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";

export const hex = (b) => Buffer.from(b).toString("hex");
export const bytes = (h) => Buffer.from(h, "hex");
export const sha256 = (b) => createHash("sha256").update(b).digest();
const label = (s) => Buffer.from(`${s}\0`);
const cat = (...parts) => Buffer.concat(parts.map((p) => Buffer.from(p)));

export function number(value, size) {
  const b = Buffer.alloc(size);
  for (let i = size - 1, v = BigInt(value); i >= 0; i--, v >>= 8n) b[i] = Number(v & 255n);
  return b;
}
export const field = (b) => cat(number(b.length, 2), b);

// The suites: what they are called, their HPKE, and the lengths of their keys.
export const suites = {
  1: { name: "p256", kem: () => new DhkemP256HkdfSha256(), key: 65, enc: 65 },
  2: { name: "mlkem768-x25519", kem: () => new XWing(), key: 1216, enc: 1120 },
};
export const hpke = (suite) => new CipherSuite({ kem: suites[suite].kem(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

// Ed25519 keys from their 32 byte seeds.
const pkcs8 = bytes("302e020100300506032b657004220420");
const spki = bytes("302a300506032b6570032100");
export const privateKey = (seed) => createPrivateKey({ key: cat(pkcs8, seed), format: "der", type: "pkcs8" });
export const publicOf = (seed) => createPublicKey(privateKey(seed)).export({ format: "der", type: "spki" }).subarray(spki.length);
export const signWith = (seed, message) => sign(null, message, privateKey(seed));
export const verifies = (key, message, signature) =>
  verify(null, message, createPublicKey({ key: cat(spki, key), format: "der", type: "spki" }), signature);
export const readerID = (key) => sha256(key).subarray(0, 8);

// encodeOffer writes what a gateway writes.
export const encodeOffer = (o) => cat(
  [1, o.suite], number(o.transaction, 8), field(Buffer.from(o.merchant)), field(Buffer.from(o.shop)), number(o.amount, 8),
  number(o.currency, 2), Buffer.from(o.letters), [o.decimals], o.reader, number(o.cardFor, 2), number(o.pinFor, 2), field(o.publicKey));

// decodeOffer reads an offer, as a reader does before it shows anything. It has no
// table of currencies, and believes the offer which letters and decimals one has.
export async function decodeOffer(b) {
  let at = 0;
  const must = (ok, what) => { if (!ok) throw new Error(`the offer is refused: ${what}`); };
  const take = (n) => {
    must(at + n <= b.length, "it is cut off");
    return b.subarray(at, (at += n));
  };
  const uint = (n) => Number(BigInt(`0x${hex(take(n))}`));
  must(uint(1) === 1, "another version");
  const o = { suite: uint(1), transaction: uint(8) };
  o.merchant = take(uint(2)).toString("latin1");
  o.shop = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(take(uint(2)));
  Object.assign(o, { amount: uint(8), currency: uint(2), letters: take(3).toString("latin1"), decimals: uint(1), reader: take(8), cardFor: uint(2), pinFor: uint(2) });
  o.publicKey = take(uint(2));
  must(at === b.length, "there is something behind it");
  const within = (n, most) => n >= 1 && n <= most;
  must(o.suite in suites && o.publicKey.length === suites[o.suite].key, "its key is not known here");
  must(within(o.transaction, 999_999_999_999) && within(o.amount, 999_999_999_999), "a number that is too large or zero");
  must(within(o.cardFor, 3600) && within(o.pinFor, 3600), "a time that is too long or none");
  must(/^[!-~]([ -~]{0,13}[!-~])?$/.test(o.merchant), "the merchant");
  must(within([...o.shop].length, 80) && !/[\0-\x1f\x7f-\x9f]/.test(o.shop), "the shop's name");
  must(/^[A-Z]{3}$/.test(o.letters), "the currency");
  await hpke(o.suite).kem.deserializePublicKey(Uint8Array.from(o.publicKey).buffer);
  return o;
}
export const offerToSign = (offer) => cat(label("kessai reader offer v1"), offer);

// The two steps, and what a sealed message is bound to.
export const CARD = 1;
export const PIN = 2;
export const info = (step, offer) => cat(label("kessai reader seal v1"), [step], offer);
export const toSign = (step, offer, sealed) => cat(label("kessai reader sealed v1"), [step], sha256(offer), sha256(sealed));

export function padCard({ track2, emv }) {
  const data = track2 === undefined ? bytes(emv) : Buffer.from(track2);
  const b = Buffer.alloc(512);
  cat([track2 === undefined ? 2 : 1], field(data)).copy(b);
  return b;
}

// pinBlock is ISO 9564-1, format 4.
export function pinBlock(key, pan, pin, random) {
  const once = (b) => {
    const c = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
    return cat(c.update(b), c.final());
  };
  const plain = cat(bytes(`4${pin.length.toString(16)}${pin}`.padEnd(16, "a")), random);
  const account = bytes(`${pan.length - 12}${pan}`.padEnd(32, "0"));
  return once(once(plain).map((c, i) => c ^ account[i]));
}

// sealed seals for the key in an offer. random has the parts that tests fix.
async function sealed(step, offer, plain, ekm) {
  const o = await decodeOffer(offer);
  const suite = hpke(o.suite);
  const recipientPublicKey = await suite.kem.deserializePublicKey(Uint8Array.from(o.publicKey).buffer);
  const sender = await suite.createSenderContext({
    recipientPublicKey, info: Uint8Array.from(info(step, offer)).buffer, ...(ekm && { ekm: Uint8Array.from(ekm).buffer }),
  });
  const exported = Buffer.from(await sender.export(new TextEncoder().encode("kessai reader pin v1").buffer, 16));
  const message = plain(exported);
  const ciphertext = await sender.seal(Uint8Array.from(message).buffer);
  return { plain: message, exported, sealed: cat(new Uint8Array(sender.enc), new Uint8Array(ciphertext)) };
}
export const sealCard = (offer, card, ekm) => sealed(CARD, offer, () => padCard(card), ekm);
export const sealPIN = (offer, pan, pin, random = randomBytes(8), ekm = undefined) =>
  sealed(PIN, offer, (key) => pinBlock(key, pan, pin, random), ekm);

// Enrolment.
export const enrolKey = (code) => Buffer.from(hkdfSync("sha256", code.replace(/[ -]/g, ""), "", "kessai reader enrolment v1", 32));
const mac = (key, ...parts) => createHmac("sha256", key).update(cat(...parts)).digest();
export function enrol(seed, name, code, nonce = randomBytes(16)) {
  const content = cat([1], publicOf(seed), nonce, field(Buffer.from(name)));
  const signature = signWith(seed, cat(label("kessai reader enrol v1"), content));
  return cat(content, signature, mac(enrolKey(code), label("kessai reader enrol mac v1"), content, signature));
}
export function enrolled(code, nonce, reader, gateway) {
  const id = readerID(reader);
  return cat([1], gateway, id, mac(enrolKey(code), label("kessai reader enrolled v1"), nonce, reader, gateway, id));
}

// Frames.
export function crc16(b) {
  let sum = 0xffff;
  for (const c of b) {
    sum ^= c << 8;
    for (let i = 0; i < 8; i++) sum = (sum & 0x8000 ? (sum << 1) ^ 0x1021 : sum << 1) & 0xffff;
  }
  return sum;
}
export function frame(type, body = []) {
  const b = cat("KR", [1, type], field(Buffer.from(body)));
  return cat(b, number(crc16(b), 2));
}

// trust gives the gateway's key, where the answer is to this reader and true.
export function trust(seed, code, sent, answer) {
  const gateway = answer.subarray(1, 33);
  if (!answer.equals(enrolled(code, sent.subarray(33, 49), publicOf(seed), gateway))) throw new Error("the answer is not the gateway's");
  return gateway;
}

async function answer(request) {
  const seed = bytes(request.seed);
  if (request.enrolled) return { gateway: hex(trust(seed, request.code, bytes(request.enrol), bytes(request.enrolled))) };
  if (request.code) return { enrol: hex(enrol(seed, request.name, request.code)) };
  const offer = bytes(request.offer);
  if (!verifies(bytes(request.gateway), offerToSign(offer), bytes(request.offer_signature))) throw new Error("the offer is not the gateway's");
  if (!(await decodeOffer(offer)).reader.equals(readerID(publicOf(seed)))) throw new Error("the offer is for another reader");
  const step = request.card ? CARD : PIN;
  const made = step === CARD ? await sealCard(offer, request.card) : await sealPIN(offer, request.pan, request.pin);
  return { sealed: hex(made.sealed), signature: hex(signWith(seed, toSign(step, offer, made.sealed))) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for await (const line of createInterface(process.stdin)) console.log(JSON.stringify(await answer(JSON.parse(line))));
}
