// What this phone proves, each in one place: who it is, and that its owner agrees
// to one sale, with a password or a passkey.
import * as api from "./api.js";
import { concat, fromBase64url, hex, sha256, utf8 } from "./bytes.js";
import * as device from "./device.js";
import * as passkey from "./passkey.js";
import { digestSale, SaleError } from "./sale.js";
import * as scram from "./scram.js";

const sides = { sale: "p=kessai-sale,,", device: "p=kessai-device,,", change: "p=kessai-change,," };

// untrusted is thrown when the other side does not prove that it is the gateway.
const untrusted = () => new api.Problem("untrusted");

export async function signIn(customer, password, names) {
  await device.fresh();
  const about = await device.digest();
  const device_key = await device.publicKey();
  const begun = scram.begin(customer, sides.device);
  const heard = await api.post("sign-in", { client_first: begun.first, device_key }, api.once);
  const said = await scram.finish(begun, heard.server_first, password, about);
  const answer = await api.post("sign-in/" + heard.try, {
    client_final: said.final, signature: await device.sign(about, utf8(said.whole)), ...names,
  }, api.once);
  if (!said.trusts(answer.server_final)) throw untrusted();
  await device.remember(answer.device.id);
}

export async function signInByPasskey(names) {
  await device.fresh();
  const heard = await api.post("sign-in/passkey", {}, api.once);
  const { said, credential } = await passkey.ask(heard.options);
  const answer = await api.post("sign-in/passkey/" + heard.try, {
    credential, device_key: await device.publicKey(), signature: await device.sign(await device.digest(), said), ...names,
  }, api.once);
  await device.remember(answer.device.id);
}

// accept sets the password of whoever was invited. What goes out is a verifier,
// from which nobody can say the password.
export async function accept(code, password, iterations, names) {
  await device.fresh();
  const verifier = await scram.verifier(password, iterations);
  const answer = await api.post("invitations/accept", {
    code, verifier, device_key: await device.publicKey(), signature: await device.sign(await device.digest(), utf8(verifier)), ...names,
  }, api.once);
  await device.remember(answer.device.id);
}

// digest computes what is signed from what is shown. Undefined: it is no sale that
// can be shown, or the gateway says that it is another, and nothing may be signed.
export async function digest(shown) {
  try {
    const own = await digestSale(shown.sale);
    return hex(own) === shown.digest ? own : undefined;
  } catch (e) {
    if (e instanceof SaleError) return undefined;
    throw e;
  }
}

export async function approveByPassword(shown, customer, password) {
  const about = await mustDigest(shown);
  const path = `sales/${shown.sale.id}/password`;
  const begun = scram.begin(customer, sides.sale);
  const heard = await api.post(path, { client_first: begun.first });
  const said = await scram.finish(begun, heard.server_first, password, about);
  const answer = await api.post(`${path}/${heard.try}`, {
    client_final: said.final, signature: await device.sign(about, utf8(said.whole)),
  });
  if (answer.outcome === "approved" && !said.trusts(answer.server_final)) throw untrusted();
  return answer;
}

export async function approveByPasskey(shown) {
  const about = await mustDigest(shown);
  const path = `sales/${shown.sale.id}/passkey`;
  const heard = await api.post(path);
  const challenge = await sha256(concat(utf8("kessai passkey v1\0"), about, fromBase64url(heard.nonce)));
  const { said, credential } = await passkey.ask(heard.options, challenge);
  return api.post(`${path}/${heard.try}`, { credential, signature: await device.sign(about, said) });
}

// approveByReader says yes to a sale that is paid with a card in this reader. It gives
// how far the payment has come: what to give the reader now.
export async function approveByReader(shown, reader) {
  const about = await mustDigest(shown);
  return api.post(`sales/${shown.sale.id}/reader`, { reader, signature: await device.sign(about, utf8("reader " + reader)) });
}

async function mustDigest(shown) {
  const about = await digest(shown);
  if (!about) throw new api.Problem("other_digest");
  return about;
}

// addPasskey makes a passkey and proves with the password that its owner did.
export async function addPasskey(customer, password, name) {
  const begun = scram.begin(customer, sides.change);
  const heard = await api.post("passkeys", { client_first: begun.first });
  const { attestation, credential } = await passkey.create(heard.options);
  const said = await scram.finish(begun, heard.server_first, password, await sha256(attestation));
  return api.post("passkeys/" + heard.try, { client_final: said.final, credential, name });
}
