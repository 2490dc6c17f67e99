// A serial port in the browser whose other end is a device of the test's own
// (device.mjs). The page knows no difference: it opens, reads and writes.

// lay gives a page a port with the device at its end. allowed: the customer has
// chosen it before.
export async function lay(page, device, { allowed = false } = {}) {
  await page.exposeFunction("deviceHears", (bytes) => device.hears(bytes));
  await page.exposeFunction("devicePlugged", () => {
    device.plug((bytes) => page.evaluate((b) => self.deviceSays?.(b), [...bytes]).catch(() => {})); // the page may be gone
  });
  await page.addInitScript(inPage, allowed);
}

// inPage runs in the page, before anything of it.
function inPage(allowed) {
  let chosen = allowed || sessionStorage.getItem("chosen");
  let inner, open = false;
  const port = {
    getInfo: () => ({ usbVendorId: 0x1209, usbProductId: 1 }),
    async open() {
      if (self.unplugged) throw new DOMException("no device", "NetworkError");
      if (open) throw new DOMException("open already", "InvalidStateError");
      open = true;
      port.readable = new ReadableStream({ start(c) { inner = c; } });
      port.writable = new WritableStream({ write: (bytes) => self.deviceHears([...bytes]) });
      await self.devicePlugged();
    },
    async close() { open = false; },
  };
  self.deviceSays = (bytes) => inner.enqueue(Uint8Array.from(bytes));
  // pull takes the cable out, and push puts it in again.
  self.pull = () => {
    self.unplugged = true;
    port.readable = null;
    inner.error(new DOMException("gone", "NetworkError"));
  };
  self.push = () => { self.unplugged = false; };
  Object.defineProperty(navigator, "serial", { value: {
    getPorts: async () => (chosen ? [port] : []),
    async requestPort() {
      if (!navigator.userActivation.isActive) throw new DOMException("nothing was pressed", "SecurityError");
      chosen = true;
      sessionStorage.setItem("chosen", "yes");
      return port;
    },
  } });
}
