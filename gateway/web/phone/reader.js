// A card reader at the other end of the cable, and a payment that is made with it.
//
// This phone carries sealed messages between the reader and the gateway, in either
// direction and unread. It keeps none: what could not be sent is held in memory until
// it is, or until the payment is over.
import * as api from "./api.js";
import { base64url, fromBase64url } from "./bytes.js";
import { connect } from "./link.js";
import { fields, frame, hello, faults, say, scanner, split, told } from "./tether.js";

export class ReaderError extends Error {
  // what is the reader's name for what went wrong (tether.js), or one of: lost,
  // silent, garbled. over: the payment is given up.
  constructor(what) {
    super(what);
    Object.assign(this, { code: "reader_" + what, over: givenUp.includes(what) });
  }
}

// What ends the payment at the reader, and by the customer's own doing or for good. A
// card that could not be read is tried again.
const givenUp = ["fault_inside", "cancelled", "timeout", "card_removed"];

const silence = 1_000; // ms within a frame, after which it is none
const quick = 3_000; // ms that a reader may take to answer by itself
const typing = 240_000; // ms for a customer who types the code of enrolment
const pause = 1_000; // ms between two tries to reach the gateway

const damaged = {}; // stands for a frame that came broken

// plug gives the reader at the end of a cable, once it has said who it is.
export async function plug(kind, choose, signal) {
  let heard, waits, lost = false;
  const scan = scanner(() => heard?.(damaged));
  const take = (bytes, silent) => {
    clearTimeout(waits);
    for (const f of scan(bytes, silent)) heard?.(f);
    if (!silent) waits = setTimeout(take, silence, new Uint8Array(), true);
  };
  const cable = await connect(kind, { choose, heard: take, lost() { lost = true; heard?.(undefined); } });

  // ask says something and waits for one kind of answer. What the reader says beside
  // it is late, or of an earlier conversation.
  const ask = (type, body, want, ms, signal) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => end(reject, new ReaderError("silent")), ms);
    const stop = () => end(reject, signal.reason);
    const end = (f, value) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      heard = undefined;
      f(value);
    };
    let again = 2; // times that it is said once more, where a frame was damaged on its way
    const send = () => Promise.resolve(cable.send(frame(type, body))).catch(() => end(reject, new ReaderError("lost")));
    if (lost) return end(reject, new ReaderError("lost"));
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop);
    heard = (f) => {
      if (!f) return end(reject, new ReaderError("lost"));
      if (f.type === want) return end(resolve, f.body);
      if (f === damaged && again-- > 0) return send();
      if (f.type !== told.error) return;
      const fault = faults[f.body[0]] ?? "garbled";
      if (fault === "bad_frame" && again-- > 0) return send();
      end(reject, new ReaderError(fault));
    };
    send();
  });
  const message = (body) => split(body, 2).map(base64url);

  const who = await (async () => {
    try {
      return hello(await ask(say.hello, undefined, told.hello, quick, signal));
    } catch (e) {
      clearTimeout(waits);
      await cable.close();
      throw e;
    }
  })();
  // card gives the offer to the reader and waits for the sealed card. A reader that
  // still has an earlier payment in mind is told that it is over.
  const card = async ({ offer, offer_signature }, ms, signal) => {
    const body = fields(fromBase64url(offer), fromBase64url(offer_signature));
    const give = () => ask(say.offer, body, told.card, ms, signal);
    return message(await give().catch(async (e) => {
      if (e.code !== "reader_busy") throw e;
      await ask(say.end, end("68", false), told.ended, quick, signal);
      return give();
    }));
  };
  return {
    ...who,
    card,
    // pin has the reader ask for the PIN and waits for it, sealed. One that has lost the
    // payment meanwhile (its power failed) reads the card once more, for itself alone.
    async pin(now, ms, signal) {
      const askPIN = async () => message(await ask(say.askPIN, undefined, told.pin, ms, signal));
      return askPIN().catch(async (e) => {
        if (e.code !== "reader_bad_state") throw e;
        await card(now, ms, signal);
        return askPIN();
      });
    },
    // end tells the reader what became of the payment, whose key it destroys.
    end: (code, settled) => ask(say.end, end(code, settled), told.ended, quick).catch(() => {}),
    // enrol has the reader ask for the code that its owner was given, and waits.
    enrol: async (signal) => base64url(await ask(say.enrol, undefined, told.enrol, typing, signal)),
    // trust gives the reader the gateway's answer, which it checks.
    trust: async (answer) => hello(await ask(say.enrolled, fromBase64url(answer), told.hello, quick)),
    close() {
      clearTimeout(waits);
      return cable.close();
    },
  };
}

const end = (code, settled) => Uint8Array.from([...code].map((c) => c.charCodeAt(0)).concat(settled ? 1 : 0));

// finish takes a payment from where it stands to where nothing more can be done with
// this reader: to its end, or back to the customer's word after the gateway was
// restarted. tell is called with each step; left says how many ms it may take.
export async function finish(id, now, reader, { tell, left, signal }) {
  while (now.step === "card" || now.step === "pin") {
    tell(now);
    const ms = left(now) + quick; // the gateway ends it, not this phone
    const sealed = await (now.step === "card" ? reader.card(now, ms, signal) : reader.pin(now, ms, signal));
    tell({ ...now, step: now.step + "_sent" });
    now = await pass(id, now.step, sealed, signal);
  }
  return now;
}

// pass gives the gateway what the reader sealed. Where no answer comes it asks how
// the payment stands: the message may have arrived all the same, and is good once.
async function pass(id, step, [sealed, signature], signal) {
  const path = `sales/${id}/reader`;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await api.post(`${path}/${step}`, { sealed, signature });
    } catch (e) {
      if (!passing(e)) throw e;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    const now = await api.get(path).catch((e) => { if (!passing(e)) throw e; });
    if (now && now.step !== step) return now;
  }
}

const passing = (e) => e.status === 0 || e.status >= 500 || e.status === 429 || e.code === "reader_step";
