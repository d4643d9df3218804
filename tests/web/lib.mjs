// What the tests share: the sites that site.py made, a browser, and pages that remember what went wrong in them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

export const HERE = dirname(fileURLToPath(import.meta.url));
if (!process.env.SITES) throw new Error("SITES must name the folder that site.py filled; run.sh does all of this");

export const folderOf = (site) => join(process.env.SITES, site, "site");
export const address = (site, page) => pathToFileURL(join(folderOf(site), page)).href;

export function filesOf(site, ending = ".html") {
  const root = folderOf(site);
  return readdirSync(root, { recursive: true })
    .filter((name) => name.endsWith(ending) && statSync(join(root, name)).isFile())
    .map((name) => name.split(sep).join("/"))
    .sort();
}

// The first and the largest page of each type: the common case, and the case that breaks a layout. A type is a page at
// the top, an index, or all pages of a folder at the top that lie equally deep.
export function pageTypes(site) {
  const types = new Map();
  for (const name of filesOf(site)) {
    const places = name.split("/");
    const isOwnType = places.length === 1 || places.at(-1) === "index.html";
    const type = isOwnType ? name : `${places[0]} ${places.length}`;
    types.set(type, [...(types.get(type) ?? []), name]);
  }
  const size = (name) => statSync(join(folderOf(site), name)).size;
  const groups = [...types.values()];
  const largest = groups.map((names) => names.reduce((a, b) => (size(b) > size(a) ? b : a)));
  return [...new Set([...groups.map((names) => names[0]), ...largest])];
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Debian's sandbox needs rights that containers lack; the rest keeps the browser itself off the network.
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}

// A page in a fresh context, with every complaint of the browser in page.troubles and every address in page.asked.
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  page.troubles = [];
  page.asked = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.troubles.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.troubles.push(`script: ${error.message}`));
  page.on("dialog", async (dialog) => {
    page.troubles.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("request", (request) => page.asked.push(request.url()));
  page.on("requestfailed", (request) => {
    // Going on to the next page stops what is still loading; that is no fault.
    const { errorText } = request.failure() ?? {};
    if (errorText !== "net::ERR_ABORTED") page.troubles.push(`failed (${errorText}): ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) page.troubles.push(`status ${response.status()}: ${response.url()}`);
  });
  return page;
}

const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript",
  ".svg": "image/svg+xml", ".json": "application/json", ".csv": "text/csv", ".atom": "application/atom+xml" };

// A site over http on this machine; everything that was asked for and not there is in `missing`.
export async function serve(site) {
  const missing = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file = join(folderOf(site), path.endsWith("/") ? `${path}index.html` : path);
    try {
      if (relative(folderOf(site), file).startsWith("..")) throw new Error("outside");
      const body = readFileSync(file);
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
      missing.push(path);
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { origin: `http://127.0.0.1:${server.address().port}`, missing, close: () => server.close() };
}

// The overview as a reader sees it: the text of every visible row of its first table.
export function visibleRows(page) {
  return page.locator("table").first().locator("tbody tr").evaluateAll((rows) =>
    rows.filter((row) => row.checkVisibility()).map((row) => row.innerText.replace(/\s+/g, " ").trim()));
}

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// What axe-core would have mended on an open page, whose policy must be switched off (bypassCSP); `rules` are those
// that are asked, all when there are none.
export async function faultsFor(page, rules = []) {
  await page.evaluate(AXE);
  const runOnly = rules.length ? { type: "rule", values: rules } : { type: "tag", values: TAGS };
  // Nothing is preloaded: a page from a disk may not ask for its style sheets, and no rule of these tags reads them.
  const options = { runOnly, resultTypes: ["violations"], preload: false };
  const found = await page.evaluate((given) => window.axe.run(document, given), options);
  return found.violations.flatMap((rule) =>
    rule.nodes.slice(0, 3).map((node) => `${rule.id}: ${node.html.slice(0, 200)} -- ${node.failureSummary}`));
}

// What the Nu checker complains of. A template's fault is on every page; twenty lines are enough to mend it.
export function complaints(options, files) {
  const vnu = join(require.resolve("vnu-jar/package.json"), "..", "build", "dist", "vnu.jar");
  const told = ["--errors-only", "--exit-zero-always", "--format", "json", ...options, ...files];
  const run = spawnSync("java", ["-Xss4m", "-jar", vnu, ...told], { encoding: "utf8", maxBuffer: 2 ** 28 });
  assert.equal(run.error, undefined);
  const found = JSON.parse(run.stderr || run.stdout).messages.map((m) =>
    `${m.url.split("/site/").pop()}:${m.lastLine}: ${m.message} ${m.extract ?? ""}`.replace(/\s+/g, " ").slice(0, 300));
  return [...new Set(found)].slice(0, 20);
}
