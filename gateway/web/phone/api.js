// Talking to the gateway. What it refuses is thrown as a Problem.
import { renew } from "./device.js";

export class Problem extends Error {
  // code is the gateway's name for what went wrong, or this page's own: offline,
  // slow. status is 0 where nothing was answered.
  constructor(code, status = 0, body = {}) {
    super(body.detail ?? body.title ?? code);
    Object.assign(this, { code, status, body });
  }
}

const patience = 20_000; // ms

// call sends a request below /phone/v1 and gives what is answered: JSON as an
// object, else text. A session that has ended is renewed once, by the device.
export async function call(method, path, body, { accept = "application/json", again = true } = {}) {
  let answer, text;
  try {
    answer = await fetch("/phone/v1/" + path, {
      method,
      body: method === "GET" ? undefined : JSON.stringify(body ?? {}),
      headers: { Accept: accept, ...(method === "GET" ? {} : { "Content-Type": "application/json", "X-Kessai-Phone": "1" }) },
      credentials: "same-origin", cache: "no-store", redirect: "error", signal: AbortSignal.timeout(patience),
    });
    text = await answer.text();
  } catch (e) {
    throw new Problem(e.name === "TimeoutError" ? "slow" : "offline");
  }
  const json = /json/.test(answer.headers.get("Content-Type") ?? "") && text ? JSON.parse(text) : undefined;
  if (answer.ok) return json ?? text;
  if (answer.status === 401 && again && (await renew())) return call(method, path, body, { accept, again: false });
  throw new Problem(json?.code ?? "internal", answer.status, json);
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);
export const remove = (path) => call("DELETE", path);

// once is for what happens before anyone is signed in: there is no session that
// could be renewed.
export const once = { again: false };
