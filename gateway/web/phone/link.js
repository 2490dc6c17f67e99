// The cable to a card reader: bytes in, bytes out. A cable is a serial line or USB,
// or, on the demo's shop floor, requests to the reader that stands there.
//
// connect gives {send, close}. What comes in goes to heard, and lost is called once
// when the cable comes out; after close neither is.
import { get, put } from "./keep.js";

export class LinkError extends Error {
  // what is one of: unplugged, not_chosen, taken.
  constructor(what, cause) {
    super(what, { cause });
    this.code = "reader_" + what;
  }
}

const rate = 115_200; // bits per second, on lines that have a speed
const cables = { demo, serial, usb };
let closing; // the cable that is being taken out

// kinds names the cables that this page can use.
export function kinds() {
  if (new URLSearchParams(location.search).get("reader") === "demo") return ["demo"];
  return ["serial", "usb"].filter((kind) => kind in navigator);
}

// usual is the cable that was used last, if it can be used.
export async function usual() {
  const { kind } = (await get("cable").catch(() => {})) ?? {};
  return kinds().includes(kind) ? kind : kinds()[0];
}

// connect plugs in. Where choose is true the browser may ask the customer which
// device it is, and where it is "another" it does; the customer must have pressed
// something just now for that.
export async function connect(kind, { choose, heard, lost }) {
  await closing; // a view that goes and the next one may want the same device
  let over = false, closed;
  const end = () => { if (!over) { over = true; lost(); } };
  const { id, ...cable } = await cables[kind](choose, (bytes) => { if (!over) heard(bytes); }, end, (await get("cable").catch(() => {}))?.id);
  await put("cable", { kind, id }).catch(() => {}); // it is chosen again then
  return {
    send: cable.send,
    close() {
      over = true;
      closed ??= closing = Promise.resolve(cable.close()).catch(() => {});
      return closed;
    },
  };
}

// pick gives the device that was used last, the only one that is allowed, or the
// one that the customer chooses.
async function pick(devices, name, last, choose, request) {
  const known = devices.find((d) => name(d) === last) ?? (devices.length === 1 ? devices[0] : undefined);
  if (known && choose !== "another") return known;
  if (!choose) throw new LinkError("not_chosen");
  try {
    return await request();
  } catch (e) {
    throw new LinkError("not_chosen", e);
  }
}

async function serial(choose, heard, lost, last) {
  const name = (p) => JSON.stringify(p.getInfo());
  const port = await pick(await navigator.serial.getPorts(), name, last, choose, () => navigator.serial.requestPort());
  try {
    await port.open({ baudRate: rate, bufferSize: 8192 });
  } catch (e) {
    throw new LinkError(e.name === "InvalidStateError" ? "taken" : "unplugged", e);
  }
  const writer = port.writable.getWriter();
  let reader, closed = false;
  const listen = async () => {
    while (port.readable && !closed) { // a stream that broke for noise is followed by another
      reader = port.readable.getReader();
      try {
        for (let got = await reader.read(); !got.done; got = await reader.read()) heard(got.value);
      } catch { /* the loop goes on if the port does */ }
      reader.releaseLock();
    }
    lost();
  };
  const done = listen();
  return {
    id: name(port),
    send: (bytes) => writer.write(bytes),
    async close() {
      closed = true;
      await reader?.cancel().catch(() => {});
      await done;
      writer.releaseLock();
      await port.close().catch(() => {});
    },
  };
}

// The classes of USB that speak as a line does: the data of a modem (CDC), or the
// maker's own.
const data = 0x0a, own = 0xff, modem = 0x02;

async function usb(choose, heard, lost, last) {
  const name = (d) => [d.vendorId, d.productId, d.serialNumber].join();
  const device = await pick(await navigator.usb.getDevices(), name, last, choose,
    () => navigator.usb.requestDevice({ filters: [{ classCode: modem }, { classCode: own }, { classCode: 0xef }] }));
  try {
    await device.open();
    if (!device.configuration) await device.selectConfiguration(1);
    const line = pipes(device.configuration.interfaces);
    await device.claimInterface(line.number);
    if (line.modem !== undefined) { // says that somebody listens (CDC PSTN, SET_CONTROL_LINE_STATE)
      await device.claimInterface(line.modem);
      await device.controlTransferOut({ requestType: "class", recipient: "interface", request: 0x22, value: 1, index: line.modem });
    }
    listenUSB(device, line.in, heard).catch(() => {}).finally(lost);
    return {
      id: name(device),
      send: (bytes) => device.transferOut(line.out, bytes),
      close: () => device.close().catch(() => {}),
    };
  } catch (e) {
    await device.close().catch(() => {});
    throw new LinkError(e.name === "SecurityError" || e.name === "NetworkError" ? "taken" : "unplugged", e);
  }
}

// pipes finds where bytes go in and out.
function pipes(interfaces) {
  for (const i of interfaces) {
    const { interfaceClass, endpoints } = i.alternate;
    const bulk = (direction) => endpoints.find((e) => e.type === "bulk" && e.direction === direction)?.endpointNumber;
    if (![data, own].includes(interfaceClass) || !bulk("in") || !bulk("out")) continue;
    const control = interfaceClass === data ? interfaces.find((o) => o.alternate.interfaceClass === modem)?.interfaceNumber : undefined;
    return { number: i.interfaceNumber, in: bulk("in"), out: bulk("out"), modem: control };
  }
  throw new LinkError("unplugged");
}

async function listenUSB(device, from, heard) {
  while (device.opened) {
    const { data: got, status } = await device.transferIn(from, 4096);
    if (status === "stall") await device.clearHalt("in", from);
    if (got?.byteLength) heard(new Uint8Array(got.buffer, got.byteOffset, got.byteLength));
  }
}

// demo asks the shop floor for what the reader there says, again and again.
async function demo(choose, heard, lost) {
  const path = "/demo/reader/link?line=" + crypto.randomUUID().replaceAll("-", "").slice(0, 16);
  const stop = new AbortController();
  const ask = (method, body) => fetch(path, {
    method, body, cache: "no-store", credentials: "same-origin", redirect: "error", signal: stop.signal,
    headers: body && { "Content-Type": "application/octet-stream" },
  });
  const plugged = await ask("POST", new Uint8Array()).catch(() => ({ ok: false }));
  if (!plugged.ok) throw new LinkError("unplugged");
  const listen = async () => {
    for (;;) {
      const answer = await ask("GET");
      if (!answer.ok) return;
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (bytes.length) heard(bytes);
    }
  };
  listen().catch(() => {}).finally(lost);
  return {
    id: "demo",
    async send(bytes) {
      if (!(await ask("POST", bytes)).ok) throw new LinkError("unplugged");
    },
    async close() {
      stop.abort();
      await fetch(path, { method: "DELETE", keepalive: true }).catch(() => {});
    },
  };
}
