// The JSON API as a merchant's program uses it: /docs has all of it.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `the gateway answers ${status}`);
    Object.assign(this, { status, code: body?.code });
  }
}

// Merchant speaks for one merchant with its API key.
export class Merchant {
  constructor(shop) {
    this.shop = shop;
  }

  async call(method, path, body, { accept = "application/json", key = crypto.randomUUID() } = {}) {
    const headers = { Authorization: `Bearer ${this.shop.key}`, Accept: accept };
    if (method === "POST") Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": key });
    // An answer that is lost is asked for again, under the same key: the gateway
    // does nothing twice.
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
        const text = await answer.text();
        if (!answer.ok) throw new Problem(answer.status, text.startsWith("{") ? JSON.parse(text) : undefined);
        return accept === "application/json" ? JSON.parse(text) : text;
      } catch (e) {
        if (e instanceof Problem && e.status !== 503 || attempt === 5) throw e;
        await pause(500 * attempt);
      }
    }
  }

  // ask begins a payment that a customer confirms on their phone.
  ask(payment) {
    const { merchant, terminal, currency } = this.shop;
    return this.call("POST", "/v1/payments", {
      ...payment, merchant, terminal, reference: reference(), amount: { value: payment.amount, currency },
    });
  }

  // decided waits until the customer has decided, or nobody can any more.
  async decided(payment) {
    while (payment.status === "waiting") {
      const asked = Date.now();
      payment = await this.call("GET", `/v1/payments/${payment.id}?wait=20s`);
      if (payment.status === "waiting" && Date.now() - asked < 1000) await pause(1000); // the gateway is about to end
    }
    return payment;
  }

  about(payment, verb, body = {}) {
    return this.call("POST", `/v1/payments/${payment.id}/${verb}`, body);
  }

  receipt(payment) {
    return this.call("GET", `/v1/payments/${payment.id}/receipt?columns=32`, undefined, { accept: "text/plain" });
  }
}

// reference gives a sale a name of its own: the time, and what makes it the only one
// of its second.
function reference() {
  const time = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  return `${time}-${crypto.randomUUID().slice(0, 8)}`;
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const money = (value, currency) =>
  new Intl.NumberFormat("en", { style: "currency", currency }).format(value / 10 ** digits(currency));

const digits = (currency) => new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;

// make makes an element: make("p", { className: "x" }, "text", child, ...).
export function make(name, properties = {}, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

// qr draws what a camera is to read, with a button for those who have none.
export function qr(url, hold) {
  return make("div", { className: "qr" },
    make("img", { src: "/demo/qr.svg?text=" + encodeURIComponent(url), alt: "QR code of this payment" }),
    make("button", { type: "button", className: "main", onclick: () => hold(url) }, "Hold the phone to it"));
}

// countdown shows what is left of a payment's time, until the function that it gives
// is called.
export function countdown(element, until) {
  const show = () => {
    const left = Math.max(0, Math.round((Date.parse(until) - Date.now()) / 1000));
    element.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  };
  show();
  const timer = setInterval(show, 500);
  return () => clearInterval(timer);
}
