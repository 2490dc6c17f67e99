// Tests of the phone's side of the card reader that need no browser:
// node --test reader.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { concat, hex } from "../phone/bytes.js";
import * as tether from "../phone/tether.js";
import { Device } from "./device.mjs";

const vectors = JSON.parse(readFileSync(new URL("../../../pos/tether/testdata/vectors.json", import.meta.url)));
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));

test("frames are written and read as docs/READER.md has them", () => {
  assert.equal(tether.crc(bytes(vectors.crc.of)).toString(16), vectors.crc.is);
  for (const { name, type, body, frame } of vectors.frames) {
    assert.equal(hex(tether.frame(type, bytes(body))), frame, name);
    assert.deepEqual(tether.scanner()(bytes(frame)), [{ type, body: bytes(body) }], name);
  }
});

test("noise on the line costs the frames that it hits and no more", () => {
  for (const { name, stream, frames } of vectors.lines) {
    const wanted = frames.map((f) => f.frame ?? f).map((f) => (typeof f === "string" ? f : hex(tether.frame(f.type, bytes(f.body)))));
    for (const size of [1, 2, 7, 5000]) { // however it is cut
      const scan = tether.scanner();
      const got = [];
      const all = bytes(stream);
      for (let at = 0; at < all.length; at += size) got.push(...scan(all.subarray(at, at + size)));
      assert.deepEqual(got.map((f) => hex(tether.frame(f.type, f.body))), wanted, `${name}, in pieces of ${size}`);
    }
  }
});

test("a frame that never becomes whole holds nothing up", () => {
  let lost = 0;
  const scan = tether.scanner(() => lost++);
  const whole = tether.frame(tether.told.ended);
  assert.deepEqual(scan(concat(tether.frame(1, new Uint8Array(50)).subarray(0, 20), whole)), []); // it may be part of the body
  assert.deepEqual(scan(new Uint8Array(), true).map((f) => f.type), [tether.told.ended]);
  assert.equal(lost, 1);
  assert.deepEqual(scan(whole).map((f) => f.type), [tether.told.ended]);
});

test("what a reader says is taken apart only if it is whole", () => {
  const body = tether.fields(bytes("0102"), bytes("030405"));
  assert.deepEqual(tether.split(body, 2), [bytes("0102"), bytes("030405")]);
  for (let n = 0; n < body.length; n++) assert.throws(() => tether.split(body.subarray(0, n), 2), RangeError, `${n} bytes`);
  assert.throws(() => tether.split(concat(body, [0]), 2), RangeError);
  const { body: hello } = vectors.frames.find((f) => f.type === tether.told.hello);
  const who = tether.hello(bytes(hello));
  assert.equal(who.id, vectors.keys.reader_id);
  for (let n = 0; n < hello.length / 2; n++) assert.throws(() => tether.hello(bytes(hello).subarray(0, n)), RangeError, `${n} bytes`);
  assert.throws(() => tether.hello(concat(bytes(hello), [0])), RangeError);
});

// The phone's own reader.js over a cable to a device that seals chance, and a gateway
// that does as it is told.
const { plug, finish, ReaderError } = await import("../phone/reader.js");

// plugged lays the cable of a device into this process, as a browser's serial port.
function plugged(device) {
  const port = {
    getInfo: () => ({ usbVendorId: 1 }),
    async open() {
      port.readable = new ReadableStream({ start(c) { port.inner = c; device.plug((b) => c.enqueue(b)); } });
      port.writable = new WritableStream({ write: (b) => device.hears(b) });
    },
    async close() {},
    pull() { const c = port.inner; port.readable = null; c.error(new Error("gone")); },
  };
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { serial: { getPorts: async () => [port] } } });
  return port;
}

// gateway answers as the scripted steps have it and notes what it is sent.
function gateway(...answers) {
  const asked = [];
  globalThis.fetch = async (path, { method, body }) => {
    asked.push({ path, method, body: body && JSON.parse(body) });
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    const [status, json] = answer;
    return new Response(JSON.stringify(json), { status, headers: { "Content-Type": "application/json" } });
  };
  return asked;
}

const b64 = (text) => Buffer.from(text).toString("base64url");
const at = (step) => ({ step, ...(step !== "ended" && { offer: b64("offer"), offer_signature: b64("s".repeat(64)) }), sale: { status: step } });
const enrolled = () => new Device({ gateway: Buffer.alloc(32) });
const flow = () => {
  const seen = [];
  return { seen, tell: (now) => seen.push(now.step), left: () => 60_000, signal: new AbortController().signal };
};

test("a payment goes from card to PIN to its end, and the gateway gets what the reader sealed", async () => {
  const device = enrolled();
  plugged(device);
  const asked = gateway([200, at("pin")], [200, at("ended")]);
  const reader = await plug("serial", false);
  assert.deepEqual([reader.id, reader.name, reader.enrolled, reader.state], [device.id, device.name, true, "idle"]);
  const f = flow();
  const done = finish("pay_1", at("card"), reader, f);
  await device.insert("a card");
  await device.type("a PIN");
  assert.equal((await done).step, "ended");
  assert.deepEqual(f.seen, ["card", "card_sent", "pin", "pin_sent"]);
  assert.deepEqual(asked.map((a) => a.path), ["/phone/v1/sales/pay_1/reader/card", "/phone/v1/sales/pay_1/reader/pin"]);
  const [, card, pin] = device.log.map((b) => tether.scanner()(b)[0]);
  for (const [said, sent] of [[card, asked[0].body], [pin, asked[1].body]]) {
    assert.deepEqual(sent, Object.fromEntries(["sealed", "signature"].map((name, i) => [name, Buffer.from(tether.split(said.body, 2)[i]).toString("base64url")])));
  }
  await reader.end("00", true);
  assert.deepEqual(device.ends, ["00 settled"]);
  await reader.close();
});

test("a reader whose power failed reads the card once more, for the PIN alone", async () => {
  const device = enrolled();
  plugged(device);
  const asked = gateway([200, at("ended")]);
  const reader = await plug("serial", false);
  const done = finish("pay_1", at("pin"), reader, flow()); // it knows of no payment
  await device.insert("a card");
  await device.type("a PIN");
  assert.equal((await done).step, "ended");
  assert.deepEqual(asked.map((a) => a.path), ["/phone/v1/sales/pay_1/reader/pin"]);
  await reader.close();
});

test("a message whose answer is lost is sent again only where it did not arrive", async () => {
  const device = enrolled();
  plugged(device);
  const offline = new TypeError("failed to fetch");
  const asked = gateway(offline, [200, at("card")], [503, {}], offline, [409, { code: "reader_step" }], [200, at("ended")]);
  const reader = await plug("serial", false);
  const done = finish("pay_1", at("card"), reader, flow());
  await device.insert("a card");
  assert.equal((await done).step, "ended");
  assert.deepEqual(asked.map((a) => a.method), ["POST", "GET", "POST", "GET", "POST", "GET"]);
  const posts = asked.filter((a) => a.method === "POST");
  for (const p of posts) assert.deepEqual(p.body, posts[0].body);
  await reader.close();
});

test("what the reader refuses, a cable that is pulled out and silence are told apart", async () => {
  for (const [number, code, over] of [[6, "reader_bad_offer", false], [8, "reader_fault_inside", true], [9, "reader_cancelled", true], [11, "reader_card_removed", true], [99, "reader_garbled", false]]) {
    const device = enrolled();
    plugged(device);
    const reader = await plug("serial", false);
    const done = finish("pay_1", at("card"), reader, flow());
    await device.reached("card");
    device.fails(number);
    await assert.rejects(done, (e) => e instanceof ReaderError && e.code === code && e.over === over, code);
    await reader.close();
  }
  const device = enrolled();
  const port = plugged(device);
  const reader = await plug("serial", false);
  const done = finish("pay_1", at("card"), reader, flow());
  await device.reached("card");
  port.pull();
  await assert.rejects(done, { code: "reader_lost" });
  await assert.rejects(finish("pay_1", at("card"), reader, flow()), { code: "reader_lost" });
  await reader.close();
  device.hears = () => {};
  plugged(device);
  await assert.rejects(plug("serial", false), { code: "reader_silent" });
});

test("what is damaged on the line is said again, twice at most", async () => {
  for (const [times, ends] of [[2, "card"], [3, "reader_bad_frame"]]) {
    const device = enrolled();
    plugged(device);
    const reader = await plug("serial", false);
    device.deaf = times;
    const done = finish("pay_1", at("card"), reader, flow()).catch((e) => e.code);
    if (ends === "card") {
      await device.reached("card");
      device.fails(9);
      assert.equal(await done, "reader_cancelled");
    } else assert.equal(await done, ends);
    await reader.close();
  }
});

// pluggedUSB lays the cable as WebUSB has it: bulk pipes, beside a modem's control or of
// the maker's own class.
function pluggedUSB(device, interfaces) {
  const said = [], asked = [];
  let wake = () => {};
  const usb = {
    vendorId: 1, productId: 2, serialNumber: "3", opened: false, configuration: null, asked,
    async open() { usb.opened = true; device.plug((b) => { said.push(...b); wake(); }); },
    async selectConfiguration(n) { asked.push("configuration " + n); usb.configuration = { interfaces }; },
    async claimInterface(n) { asked.push("interface " + n); },
    async controlTransferOut({ request, value, index }) { asked.push(`control ${request} ${value} ${index}`); },
    async transferOut(to, bytes) { asked.at(-1) === "out " + to || asked.push("out " + to); await device.hears(bytes); },
    async transferIn(from, most) {
      if (!said.length) await new Promise((resolve) => { wake = resolve; });
      if (!usb.opened) throw new Error("closed");
      const got = Uint8Array.from(said.splice(0, Math.min(64, most)));
      return { status: "ok", data: new DataView(got.buffer) };
    },
    async clearHalt() {},
    async close() { usb.opened = false; wake(); },
  };
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { usb: { getDevices: async () => [usb] } } });
  return usb;
}

test("over USB it goes as over a serial line", async () => {
  const bulk = (n) => [{ type: "bulk", direction: "in", endpointNumber: n }, { type: "bulk", direction: "out", endpointNumber: n + 1 }];
  const face = (interfaceNumber, interfaceClass, endpoints) => ({ interfaceNumber, alternate: { interfaceClass, endpoints } });
  for (const [faces, want] of [
    [[face(0, 2, [{ type: "interrupt", direction: "in", endpointNumber: 1 }]), face(1, 10, bulk(2))], ["configuration 1", "interface 1", "interface 0", "control 34 1 0", "out 3"]],
    [[face(0, 3, []), face(4, 255, bulk(5))], ["configuration 1", "interface 4", "out 6"]],
  ]) {
    const device = enrolled();
    const usb = pluggedUSB(device, faces);
    gateway([200, at("ended")]);
    const reader = await plug("usb", false);
    const done = finish("pay_1", at("card"), reader, flow());
    await device.insert("a card");
    assert.equal((await done).step, "ended");
    assert.deepEqual(usb.asked, want);
    await reader.close();
    assert.equal(usb.opened, false);
  }
  pluggedUSB(enrolled(), [face(0, 3, [])]); // a keyboard, say
  await assert.rejects(plug("usb", false), { code: "reader_unplugged" });
});

test("who leaves takes nothing along", async () => {
  const device = enrolled();
  plugged(device);
  const reader = await plug("serial", false);
  const off = new AbortController();
  const done = finish("pay_1", at("card"), reader, { ...flow(), signal: off.signal });
  await device.reached("card");
  off.abort();
  await assert.rejects(done, { name: "AbortError" });
  await reader.end("17", false);
  assert.deepEqual(device.ends, ["17"]);
  await reader.close();
});

test("the phone says whatever a reader may refuse in every language", async () => {
  const en = (await import("../phone/i18n/en.js")).default;
  const link = readFileSync(new URL("../phone/link.js", import.meta.url), "utf8");
  const said = [...tether.faults.slice(1), "lost", "silent", "garbled", "refused", "step", ...[...link.matchAll(/new LinkError\("(\w+)"/g)].map((m) => m[1])];
  for (const what of said) assert.ok("problem_reader_" + what in en, what);
  const outcome = readFileSync(new URL("../phone/views/outcome.js", import.meta.url), "utf8");
  for (const [, kind] of outcome.matchAll(/^  (\w+): \["/gm)) for (const key of [`outcome_${kind}`, `outcome_${kind}_text`, `state_${kind}`]) assert.ok(key in en, key);
});
