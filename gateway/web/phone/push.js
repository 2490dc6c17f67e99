// Push wakes a phone that is not open. It carries no more than that somebody asks.
import * as api from "./api.js";
import { fromBase64url } from "./bytes.js";

export const possible = () => "serviceWorker" in navigator && "PushManager" in self && "Notification" in self;

const manager = async () => (await navigator.serviceWorker.ready).pushManager;

export const on = async () => possible() && Notification.permission === "granted" && Boolean(await (await manager()).getSubscription());

// turnOn gives false when the customer or the browser does not want it.
export async function turnOn() {
  if ((await Notification.requestPermission()) !== "granted") return false;
  const { vapid_key } = await api.get("config");
  const s = await (await manager()).subscribe({ userVisibleOnly: true, applicationServerKey: fromBase64url(vapid_key) });
  const { endpoint, keys } = s.toJSON();
  await api.call("PUT", "push", { endpoint, keys });
  return true;
}

export async function turnOff() {
  const s = await (await manager()).getSubscription();
  await api.remove("push");
  await s?.unsubscribe();
}
