// Taking over a payment that a machine shows: by its QR code's link, by camera or
// by typing what stands below it.
import * as api from "../api.js";
import { h, icon, say } from "../dom.js";
import { t } from "../i18n.js";
import * as sales from "../sales.js";
import { field, heading, reason, trouble, working } from "./parts.js";

// code takes what was typed or seen: a link, or the code with or without spaces.
function code(text) {
  const link = /#claim=(.*)$/.exec(text);
  return (link ? link[1] : text).toUpperCase().replace(/[^0-9A-Z]/g, "");
}

export default async function (app, linked) {
  const wrong = trouble();
  const typed = field(t("claim_code"), {
    id: "code", name: "code", required: true, maxlength: "64", autocomplete: "off", autocapitalize: "characters", spellcheck: "false", dir: "ltr",
    value: linked ? code(linked) : null,
  }, t("claim_hint"));
  const take = (text) => working(form, async () => {
    wrong.clear();
    camera.stop();
    try {
      const { sale } = await api.post("claims", { code: code(text) });
      await sales.refresh();
      app.go("pay/" + sale.sale.id);
    } catch (e) {
      wrong.show(reason(e));
    }
  });
  const camera = eyes(take, wrong);
  const form = h("form.sheet", { onsubmit(e) { e.preventDefault(); take(form.code.value); } },
    camera.place, typed, wrong.place, h("button.main", { type: "submit" }, t("claim_go")));
  if (linked) {
    history.replaceState(null, "", "#/claim"); // it is taken once: going back must not take it again
    queueMicrotask(() => take(linked));
  }
  return {
    title: t("claim_title"),
    body: h("section.narrow", {}, heading(t("claim_title")), h("p.soft", {}, t("claim_text")), form),
    stop: camera.stop,
  };
}

// eyes looks for a QR code with the camera, where the browser can read one.
function eyes(found, wrong) {
  if (!("BarcodeDetector" in self) || !navigator.mediaDevices) return { place: null, stop() {} };
  let stream, timer;
  const video = h("video", { hidden: true, playsinline: true, muted: true, "aria-label": t("camera") });
  const stop = () => {
    clearTimeout(timer);
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = undefined;
    video.hidden = true;
    button.hidden = false;
  };
  const look = async (detector) => {
    if (!stream) return;
    const [seen] = await detector.detect(video).catch(() => []);
    if (seen) return found(seen.rawValue);
    timer = setTimeout(look, 200, detector);
  };
  const button = h("button.second", { type: "button", async onclick() {
    wrong.clear();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      return wrong.show(t("no_camera"));
    }
    if (!button.isConnected) return stop();
    video.srcObject = stream;
    video.hidden = false;
    button.hidden = true;
    say(t("camera"));
    await video.play();
    look(new BarcodeDetector({ formats: ["qr_code"] }));
  } }, icon("claim"), t("scan"));
  return { place: h("div.stack", {}, button, video), stop };
}
