// SCRAM-SHA-256 (RFC 5802, RFC 7677), the customer's side, by WebCrypto.
//
// The channel binding carries what the proof is for: the digest of the sale, or
// the key of the device that signs in. A proof for one sale is none for another.
import { base64, concat, fromBase64, same, sha256, utf8 } from "./bytes.js";

const fewest = 4096; // RFC 7677, section 4
const most = 10_000_000; // no server may keep a phone busy for minutes

// prepare is SASLprep (RFC 4013) as far as it matters here: what is invisible
// goes, every space is a space, and NFKC makes one password of what different
// keyboards write for it. Control characters are refused. Not kept to: the list
// of characters that Unicode 3.2 did not have yet (emoji may be in a password)
// and the rule for mixed directions. Both sides of a proof are made here, so this
// page agrees with itself.
export function prepare(text) {
  const plain = text
    .replace(/[\u00AD\u034F\u1806\u180B-\u180D\u200B-\u200D\u2060\uFE00-\uFE0F\uFEFF]/g, "")
    .replace(/[\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]/g, " ")
    .normalize("NFKC");
  if (!plain || /[\u0000-\u001F\u007F-\u009F]/.test(plain)) throw new RangeError("the password cannot be used");
  return plain;
}

const hmac = async (key, text) => {
  const k = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", k, typeof text === "string" ? utf8(text) : text));
};

async function keys(password, salt, iterations) {
  const secret = await crypto.subtle.importKey("raw", utf8(prepare(password)), "PBKDF2", false, ["deriveBits"]);
  const salted = new Uint8Array(await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, secret, 256));
  const client = await hmac(salted, "Client Key");
  return { client, stored: await sha256(client), server: await hmac(salted, "Server Key") };
}

// verifier is what a server keeps in a password's place, as RFC 5803 and
// PostgreSQL write it.
export async function verifier(password, iterations, salt = crypto.getRandomValues(new Uint8Array(16))) {
  const k = await keys(password, salt, iterations);
  return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(k.stored)}:${base64(k.server)}`;
}

const name = (text) => text.replaceAll("=", "=3D").replaceAll(",", "=2C");

// begin starts a conversation. gs2 is "p=<binding>,," or, without a binding, "n,,".
export function begin(user, gs2, nonce = base64(crypto.getRandomValues(new Uint8Array(24)))) {
  const bare = `n=${name(user)},r=${nonce}`;
  return { gs2, nonce, bare, first: gs2 + bare };
}

// finish answers the server: the last message with the proof, the whole that both
// sides sign (for the device's signature), and how to know that the server knows
// the password's verifier, too.
export async function finish(begun, serverFirst, password, binding = new Uint8Array()) {
  const m = /^r=([^,]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(,|$)/.exec(serverFirst);
  if (!m || !m[1].startsWith(begun.nonce) || m[1].length <= begun.nonce.length) throw new Error("the server's first message is not one");
  const iterations = Number(m[3]);
  if (iterations < fewest || iterations > most) throw new Error(`the server asks for ${iterations} iterations`);
  const k = await keys(password, fromBase64(m[2]), iterations);
  const last = `c=${base64(concat(utf8(begun.gs2), binding))},r=${m[1]}`;
  const whole = `${begun.bare},${serverFirst},${last}`;
  const signature = await hmac(k.stored, whole);
  const expected = await hmac(k.server, whole);
  return {
    final: `${last},p=${base64(k.client.map((b, i) => b ^ signature[i]))}`,
    whole,
    trusts: (serverFinal) => serverFinal?.startsWith("v=") && same(fromBase64(serverFinal.slice(2).split(",")[0]), expected),
  };
}
