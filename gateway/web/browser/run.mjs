// Looks at the API page with a real browser, as its readers do: in light and in
// dark, on a wide and on a narrow screen, with the keyboard alone.
//
//   node run.mjs BASE-URL [FOLDER-FOR-SCREENSHOTS]
//
// It says what is wrong on standard error, and exits with 1 if anything is.
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const base = process.argv[2];
if (!base) {
  console.error("usage: node run.mjs BASE-URL [FOLDER-FOR-SCREENSHOTS]");
  process.exit(2);
}
const pictures = process.argv[3] ?? (await mkdtemp(join(tmpdir(), "kessai-pages-")));
const faults = [];
const check = (ok, fault) => { if (!ok) faults.push(fault); };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

const looks = [
  { name: "light", width: 1280, height: 900, colorScheme: "light" },
  { name: "dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "narrow", width: 320, height: 640, colorScheme: "light" },
  { name: "narrow-dark", width: 320, height: 640, colorScheme: "dark" },
];

// open gives a page on which everything that must not happen is noted.
async function open({ name, width, height, colorScheme }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  page.on("request", (r) => {
    const url = new URL(r.url());
    check(url.protocol === "data:" || url.origin === new URL(base).origin, `${name}: asks for ${r.url()}`);
  });
  page.on("console", (m) => check(m.type() !== "error" && m.type() !== "warning", `${name}: console: ${m.text()}`));
  page.on("pageerror", (e) => check(false, `${name}: ${e}`));
  const response = await page.goto(new URL("/", base).href, { waitUntil: "networkidle" });
  check(response.status() === 200 && new URL(page.url()).pathname === "/docs", `${name}: / leads to ${page.url()} with ${response.status()}`);
  return { context, page };
}

for (const look of looks) {
  const { context, page } = await open(look);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(wide <= 0, `${look.name}: the page is ${wide} px wider than the screen`);
  const { violations } = await new AxeBuilder({ page })
    .withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
  for (const v of violations) {
    check(false, `${look.name}: ${v.id}: ${v.help} (${v.nodes.length} times, first at ${v.nodes[0].target})`);
  }
  const back = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const bright = back.match(/\d+/g).slice(0, 3).reduce((sum, n) => sum + Number(n), 0) > 384;
  check(bright === (look.colorScheme === "light"), `${look.name}: the background is ${back}`);
  await page.screenshot({ path: join(pictures, `${look.name}.png`) });
  await page.screenshot({ path: join(pictures, `${look.name}-whole.png`), fullPage: true });
  await context.close();
}

// With the keyboard: the first stop skips to the content, the contents lead to
// what they name, and on a narrow screen they open and close.
{
  const { context, page } = await open(looks[0]);
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => ({ text: document.activeElement.textContent, left: document.activeElement.getBoundingClientRect().left }));
  check(first.text.startsWith("Skip") && first.left >= 0, `keyboard: the first stop is "${first.text}" at ${first.left}`);
  await page.keyboard.press("Enter");
  check((await page.evaluate(() => document.activeElement.id)) === "main", "keyboard: the skip link does not lead to the content");
  const broken = await page.evaluate(() => [...document.querySelectorAll("a[href^='#']")]
    .filter((a) => !document.getElementById(a.getAttribute("href").slice(1))).map((a) => a.getAttribute("href")));
  check(broken.length === 0, `links lead nowhere: ${broken}`);
  const double = await page.evaluate(() => {
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    return ids.filter((id, i) => ids.indexOf(id) !== i);
  });
  check(double.length === 0, `IDs are used twice: ${double}`);
  await context.close();
}
{
  const { context, page } = await open(looks[2]);
  const link = page.locator("nav details a").first();
  check(!(await link.isVisible()), "narrow: the contents are open from the start");
  await page.locator("nav summary").focus();
  await page.keyboard.press("Enter");
  check(await link.isVisible(), "narrow: the contents do not open with the keyboard");
  await context.close();
}

await browser.close();
console.log(`pictures: ${pictures}`);
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
