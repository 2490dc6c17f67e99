// The words on the line between this phone and a card reader: frames and what is in
// them. docs/READER.md describes them byte by byte. It needs nothing of a browser,
// so it runs in Node.js too.
//
// The phone passes what is sealed and never looks inside: it has no key for it.
import { concat, hex } from "./bytes.js";

const mark = [0x4b, 0x52]; // KR
const version = 1;
const head = 6; // mark, version, type, length
export const longest = 4096; // bytes of a body

// What the phone says, and what the reader does.
export const say = { hello: 0x01, enrol: 0x02, enrolled: 0x03, offer: 0x04, askPIN: 0x05, end: 0x06 };
export const told = { hello: 0x81, enrol: 0x82, card: 0x84, pin: 0x85, ended: 0x86, error: 0x8f };

// faults are the reader's reasons not to go on, by their numbers.
export const faults = [
  undefined, "bad_frame", "bad_type", "busy", "bad_state", "not_enrolled", "bad_offer", "enrol_failed",
  "fault_inside", "cancelled", "timeout", "card_removed", "card_unreadable",
];

// states are what a reader may be doing, by their numbers.
export const states = ["idle", "code", "card", "card_sent", "pin", "pin_sent"];

// crc is CRC-16/CCITT-FALSE: polynomial 0x1021, begun with 0xffff.
export function crc(bytes) {
  let sum = 0xffff;
  for (const b of bytes) {
    sum ^= b << 8;
    for (let i = 0; i < 8; i++) sum = (sum & 0x8000 ? (sum << 1) ^ 0x1021 : sum << 1) & 0xffff;
  }
  return sum;
}

const short = (n) => [n >> 8, n & 0xff];

// frame wraps a body for the line.
export function frame(type, body = new Uint8Array()) {
  if (body.length > longest) throw new RangeError(`a body of ${body.length} bytes is longer than a frame may be`);
  const whole = concat(mark, [version, type], short(body.length), body);
  return concat(whole, short(crc(whole)));
}

// scanner gives a function that takes what comes over the line, in pieces of any
// size, and gives the frames that are whole by then. What is damaged is left out and
// told to dropped, as is what is not whole when the line has fallen silent: the next
// mark is looked for within it.
export function scanner(dropped = () => {}) {
  let held = new Uint8Array();
  return (bytes, silent = false) => {
    held = concat(held, bytes);
    const frames = [];
    let at = 0;
    const drop = () => { at++; dropped(); };
    for (;;) {
      while (at < held.length && !begins(held, at)) at++;
      if (at === held.length) break;
      const [, , v, type] = held.subarray(at);
      const length = (held[at + 4] << 8) | held[at + 5];
      const end = at + head + length;
      if (held.length - at < head || held.length < end + 2 && v === version && type && length <= longest) {
        if (!silent) break;
        drop();
      } else if (v !== version || !type || length > longest || crc(held.subarray(at, end)) !== ((held[end] << 8) | held[end + 1])) {
        drop();
      } else {
        frames.push({ type, body: held.slice(at + head, end) });
        at = end + 2;
      }
    }
    held = held.slice(at);
    return frames;
  };
}

const begins = (b, at) => b[at] === mark[0] && (at + 1 === b.length || b[at + 1] === mark[1]);

// fields wraps byte strings, each behind its length.
export const fields = (...parts) => concat(...parts.flatMap((p) => [short(p.length), p]));

// split takes n byte strings apart again, and refuses whatever is not just those.
export function split(body, n) {
  const parts = [];
  let at = 0;
  while (parts.length < n) {
    const length = (body[at] << 8) | body[at + 1];
    if (at + 2 > body.length || at + 2 + length > body.length) throw new RangeError("the reader's message is cut short");
    parts.push(body.slice(at + 2, at += 2 + length));
  }
  if (at !== body.length) throw new RangeError("the reader's message is too long");
  return parts;
}

// hello reads what a reader says of itself: its ID and its key, its name, what it is
// doing, whether it knows a gateway, and what it can do.
export function hello(body) {
  const at = 40; // behind the ID and the key
  const name = at + 2 + ((body[at] << 8) | body[at + 1]);
  if (!(body.length === name + 4) || !(body[name] in states) || body[name + 1] > 1) throw new RangeError("the reader does not say who it is");
  return { id: hex(body.subarray(0, 8)), name: new TextDecoder().decode(body.subarray(at + 2, name)), state: states[body[name]], enrolled: body[name + 1] === 1 };
}
