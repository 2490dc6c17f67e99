// The service worker: it shows that somebody asks while the page is closed, and
// has the page ready where there is no connection. It keeps nothing of payments.

const shelf = "kessai-phone";
const files = [
  "", "app.js", "api.js", "bytes.js", "device.js", "dom.js", "format.js", "i18n.js", "icon.svg", "keep.js", "link.js", "passkey.js", "proof.js",
  "push.js", "reader.js", "sale.js", "sales.js", "scram.js", "style.css", "tether.js", "i18n/ar.js", "i18n/de.js", "i18n/en.js", "i18n/ja.js",
  "views/claim.js", "views/history.js", "views/home.js", "views/invite.js", "views/outcome.js", "views/parts.js", "views/payment.js",
  "views/reader.js", "views/readers.js", "views/receipt.js", "views/settings.js", "views/shown.js", "views/signin.js", "views/waiting.js",
].map((name) => "/phone/" + name);

const words = {
  en: ["A payment is waiting", "Tap to see it."], de: ["Eine Zahlung wartet", "Tippen, um sie zu sehen."],
  ja: ["お支払いの依頼があります", "タップして確認してください。"], ar: ["دفعة في الانتظار", "انقر لعرضها."],
};

self.addEventListener("install", (e) => e.waitUntil(caches.open(shelf).then((c) => c.addAll(files)).then(() => self.skipWaiting())));
self.addEventListener("activate", (e) => e.waitUntil(self.clients.claim()));

// The gateway's own files come from the gateway while it can be reached, so that
// nobody pays with yesterday's page.
self.addEventListener("fetch", (e) => {
  const url = new URL(e.request.url);
  if (e.request.method !== "GET" || url.origin !== self.location.origin || !files.includes(url.pathname)) return;
  e.respondWith(fresh(e.request, url.pathname));
});

async function fresh(request, name) {
  const cache = await caches.open(shelf);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(name, answer.clone());
    return answer;
  } catch (e) {
    const kept = await cache.match(name);
    if (kept) return kept;
    throw e;
  }
}

self.addEventListener("push", (e) => e.waitUntil(tell()));

async function tell() {
  const lang = await language();
  const [title, body] = words[lang];
  await self.registration.showNotification(title, {
    body, lang, dir: lang === "ar" ? "rtl" : "ltr", icon: "/phone/icon-192.png", tag: "ask", renotify: true, requireInteraction: true,
  });
}

// language reads what the customer chose, where keep.js keeps it.
const language = () => new Promise((resolve) => {
  const own = navigator.language.slice(0, 2);
  const fallback = () => resolve(own in words ? own : "en");
  const open = indexedDB.open("kessai-phone", 1);
  open.onupgradeneeded = () => open.result.createObjectStore("kept");
  open.onerror = fallback;
  open.onsuccess = () => {
    const read = open.result.transaction("kept").objectStore("kept").get("lang");
    read.onerror = fallback;
    read.onsuccess = () => (read.result in words ? resolve(read.result) : fallback());
    open.result.close();
  };
});

self.addEventListener("notificationclick", (e) => {
  e.notification.close();
  e.waitUntil((async () => {
    const [page] = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    if (!page) return self.clients.openWindow("/phone/");
    await page.focus();
  })());
});
