// What the browser tests have in common: a browser whose pages may do nothing that
// they must not, a shop that asks for payments, and a look at a page in every
// language and light.
import { join } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";

export const faults = [];
export const check = (ok, fault) => { if (!ok) faults.push(fault); };

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
  ],
});

// watch notes whatever a page does that it must not. What a test makes fail on
// purpose is listed in expected, by a part of the console's words.
export function watch(page, name, origin, expected = []) {
  page.on("request", (r) => {
    const url = new URL(r.url());
    check(["data:", "blob:"].includes(url.protocol) || url.origin === origin, `${name}: asks for ${r.url()}`);
  });
  page.on("console", (m) => check(!["error", "warning"].includes(m.type()) || expected.some((e) => m.text().includes(e)), `${name}: console: ${m.text()}`));
  page.on("pageerror", (e) => check(false, `${name}: ${e.stack}`));
}

export const narrow = { width: 320, height: 640 };
export const wide = { width: 1280, height: 900 };
const languages = ["en", "ja", "de", "ar"];

// inspect runs axe in the page. It is put there once: a page of this app stays.
export async function inspect(page) {
  if (!(await page.evaluate(() => "axe" in self))) await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { violations } = await axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"], iframes: false,
    });
    return violations.map((v) => `${v.id}: ${v.help} (${v.nodes.length} times, first ${v.nodes[0].html})`);
  });
}

// look looks at what is shown in four languages, in light and in dark, on a narrow
// and on a wide screen: nothing sticks out, axe has nothing to say, and whatever can
// be touched is large enough.
export async function look(page, view, pictures, ready) {
  const before = page.viewportSize();
  const first = await page.evaluate(() => document.documentElement.lang);
  for (const lang of languages) {
    await speak(page, lang, ready);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(narrow);
      const name = `${view}-${lang}-${colorScheme}`;
      for (const fault of await page.evaluate(measure)) check(false, `${name}: ${fault}`);
      for (const violation of await inspect(page)) check(false, `${name}: ${violation}`);
      if (!pictures) continue;
      await page.screenshot({ path: join(pictures, `${name}-320.png`), fullPage: true });
      if ((lang === "en") === (colorScheme === "light")) {
        await page.setViewportSize(wide);
        await page.screenshot({ path: join(pictures, `${name}-1280.png`) });
      }
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(before);
  await speak(page, first, ready);
}

// speak changes the language, and waits until the view is drawn anew: what is typed
// into the old one is lost with it.
async function speak(page, lang, ready) {
  const same = (await page.evaluate(() => document.documentElement.lang)) === lang;
  const old = ready && !same ? await page.$(ready) : null;
  await page.selectOption("#language", lang);
  await page.waitForFunction((l) => document.documentElement.lang === l && document.activeElement?.id === "language", lang);
  if (old) await page.waitForFunction((e) => !e.isConnected, old);
  if (ready) await page.waitForSelector(ready);
}

// measure runs in the page.
function measure() {
  const found = [];
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) found.push(`the page is ${over} px wider than the screen`);
  for (const e of document.querySelectorAll("a[href], button, input, select, summary")) {
    if (!e.checkVisibility() || e.closest(".unseen, .skip") || e.closest("label")) continue;
    const { width, height } = e.getBoundingClientRect();
    if (width < 44 || height < 44) found.push(`${e.outerHTML.slice(0, 80)} is ${Math.round(width)} by ${Math.round(height)} px`);
  }
  const back = getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).reduce((n, c) => n + Number(c), 0) > 384;
  if (back !== matchMedia("(prefers-color-scheme: light)").matches) found.push("the background does not follow the look");
  if (/[٠-٩]/.test(document.querySelector("main").innerText)) found.push("figures are not those of the terminal's display");
  if (/\b(undefined|NaN|null)\b|\{\w+\}/.test(document.querySelector("main").innerText)) found.push(`says ${document.querySelector("main").innerText}`);
  return found;
}
