// The payments that wait for this phone, kept up to date: by events while they
// come, by asking again and again while they do not.
import * as api from "./api.js";

const pause = 3000; // ms between two questions without events

let list = [];
let ahead = 0; // ms that the gateway's clock is ahead of this phone's
let stream, timer, running = false;
const listeners = new Set();

export const waiting = () => list;
export const now = () => Date.now() + ahead;

// listen calls f whenever something may have changed, until the function that it
// gives is called.
export function listen(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

// The last question and its answer's place in line: an answer that was overtaken
// by a later question says nothing new.
let asked = 0;

export async function refresh() {
  const turn = ++asked;
  let fault;
  try {
    const sent = Date.now();
    const answer = await api.get("sales");
    if (turn !== asked) return;
    ahead = Date.parse(answer.now) - (sent + Date.now()) / 2;
    list = answer.sales.filter((s) => s.status === "waiting").sort((a, b) => b.sale.time.localeCompare(a.sale.time));
  } catch (e) {
    if (turn !== asked) return;
    fault = e;
  }
  for (const f of [...listeners]) f(fault);
}

// start keeps the list up to date from now on.
export function start() {
  if (running) return;
  running = true;
  document.addEventListener("visibilitychange", seen);
  addEventListener("online", refresh);
  addEventListener("offline", refresh);
  connect();
  tick();
}

export function stop() {
  running = false;
  list = [];
  stream?.close();
  stream = undefined;
  clearTimeout(timer);
  document.removeEventListener("visibilitychange", seen);
  removeEventListener("online", refresh);
  removeEventListener("offline", refresh);
}

function seen() {
  if (!document.hidden) refresh();
}

function connect() {
  stream?.close();
  stream = new EventSource("/phone/v1/events");
  for (const kind of ["open", "sales", "ended"]) stream.addEventListener(kind, refresh);
}

// tick asks where events do not come, and connects again where the browser gave
// up. It stands still while nobody looks: push wakes the phone then.
async function tick() {
  if (!running) return;
  if (stream.readyState !== EventSource.OPEN && !document.hidden) {
    await refresh();
    if (running && stream.readyState === EventSource.CLOSED) connect();
  }
  if (running) timer = setTimeout(tick, pause);
}
