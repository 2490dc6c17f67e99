// Passkeys (WebAuthn), between what the gateway sends and what the browser takes.
import { base64url, fromBase64url, same } from "./bytes.js";

export const possible = () => "PublicKeyCredential" in self;

const inner = (options) => options.publicKey ?? options;
const list = (credentials) => credentials?.map((c) => ({ ...c, id: fromBase64url(c.id) }));

// create makes a passkey on this phone.
export async function create(options) {
  const o = inner(options);
  const made = await navigator.credentials.create({
    publicKey: {
      ...o, challenge: fromBase64url(o.challenge), user: { ...o.user, id: fromBase64url(o.user.id) },
      excludeCredentials: list(o.excludeCredentials),
    },
  });
  const attestation = made.response.attestationObject;
  return {
    attestation: new Uint8Array(attestation),
    credential: plain(made, {
      attestationObject: base64url(attestation), transports: made.response.getTransports?.() ?? [],
    }),
  };
}

// ask asks the customer for a passkey. Where the page knows what must be signed,
// it gives the challenge, and signs no other.
export async function ask(options, challenge) {
  const o = inner(options);
  const sent = fromBase64url(o.challenge);
  if (challenge && !same(challenge, sent)) throw new Error("the gateway asks to sign something else than this payment");
  const got = await navigator.credentials.get({
    publicKey: { ...o, challenge: sent, userVerification: "required", allowCredentials: list(o.allowCredentials) },
  });
  const { authenticatorData, signature, userHandle, clientDataJSON } = got.response;
  return {
    said: new Uint8Array(clientDataJSON),
    credential: plain(got, {
      authenticatorData: base64url(authenticatorData), signature: base64url(signature),
      userHandle: userHandle ? base64url(userHandle) : undefined,
    }),
  };
}

const plain = (c, response) => ({
  id: c.id, rawId: base64url(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
  authenticatorAttachment: c.authenticatorAttachment ?? undefined,
  response: { clientDataJSON: base64url(c.response.clientDataJSON), ...response },
});
