// This phone's own key. It signs whatever this phone says of itself or agrees to,
// so that a stolen cookie or a stolen password alone is of no use. The browser
// keeps it and lets nobody read it (extractable: false).
import * as api from "./api.js";
import { base64url, concat, fromBase64url, sha256, utf8 } from "./bytes.js";
import { drop, get, put } from "./keep.js";

const kind = { name: "ECDSA", namedCurve: "P-256" };

// own gives this phone's key and, once it has signed in, its id. It makes the key
// when there is none.
export async function own() {
  let device = await get("device");
  if (!device) {
    const { privateKey, publicKey } = await crypto.subtle.generateKey(kind, false, ["sign", "verify"]);
    device = { privateKey, spki: new Uint8Array(await crypto.subtle.exportKey("spki", publicKey)) };
    await put("device", device);
  }
  return device;
}

// remember keeps the id that the gateway gave to this phone.
export async function remember(id) {
  await put("device", { ...(await own()), id });
}

// forget leaves nothing of this phone's key.
export const forget = () => drop("device");

// fresh sees to it that whoever signs in now gets a key of their own: one that has
// been another customer's, or was removed, is used no more.
export async function fresh() {
  if ((await own()).id) await forget();
}

// sign signs what this phone says: the digest of what it is about and the hash of
// what was said. 64 bytes, r and s.
export async function sign(digest, said) {
  const { privateKey } = await own();
  const text = concat(utf8("kessai approve v1\0"), digest, await sha256(said));
  return base64url(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, text));
}

// digest is what a sign-in is about: this phone's key.
export const digest = async () => sha256((await own()).spki);

export const publicKey = async () => base64url((await own()).spki);

let renewing;

// renew gets a new session for a phone that was signed in. False: it was removed
// or never was, and its owner must sign in.
export function renew() {
  renewing ??= renewed().finally(() => { renewing = undefined; });
  return renewing;
}

async function renewed() {
  const { id } = await own();
  if (!id) return false;
  try {
    const begun = await api.post("renewals", { device: id }, api.once);
    const signature = await sign(await digest(), fromBase64url(begun.challenge));
    await api.post("renewals/" + begun.try, { signature }, api.once);
    return true;
  } catch (e) {
    if (!e.status || e.status >= 500 || e.status === 429) throw e;
    return false;
  }
}
