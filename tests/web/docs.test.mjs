// The documentation site that `make docs` built, opened from the disk: every page is accessible, search finds, and
// nothing is asked of another server. Without a built site there is nothing to look at.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { faultsFor, HERE, launch, newPage } from "./lib.mjs";

const DOCS = process.env.DOCS ?? join(HERE, "../../docs/_build/html");
const skip = !existsSync(join(DOCS, "index.html")) && "make docs builds the site";
const PATIENT = 300_000; // the references are long pages: ten seconds of axe-core, more beside other tests
const address = (page) => pathToFileURL(join(DOCS, page)).href;

// What the page says, and what axe-core finds.
async function check(page, name, rules) {
  assert.deepEqual(page.troubles, [], name);
  assert.deepEqual(await faultsFor(page, rules), [], name);
  page.troubles.length = 0;
}

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

// Every rule on one screen; on the others those whose answer depends on the colours or the width.
const SCREENS = [
  { viewport: { width: 1440, height: 900 }, colorScheme: "light", rules: [] },
  { viewport: { width: 1440, height: 900 }, colorScheme: "dark", rules: ["color-contrast"] },
  { viewport: { width: 390, height: 844 }, colorScheme: "light", rules: ["color-contrast", "scrollable-region-focusable", "target-size"] },
];
for (const { rules, ...screen } of SCREENS) {
  test(`Every page is accessible on a screen ${screen.viewport.width} wide, ${screen.colorScheme}`, { skip }, async () => {
    const page = await newPage(browser, { ...screen, bypassCSP: true });
    page.setDefaultTimeout(PATIENT);
    for (const name of readdirSync(DOCS, { recursive: true }).filter((file) => file.endsWith(".html")).sort()) {
      await page.goto(address(name));
      await check(page, name, rules);
      const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.equal(isWide, false, `${name} scrolls sideways`);
    }
    assert.deepEqual(page.asked.filter((url) => !/^(file|data):/.test(url)), []);
    await page.context().close();
  });
}

test("Search works from a disk, and leads to pages, functions and options", { skip }, async () => {
  const page = await newPage(browser, { bypassCSP: true });
  page.setDefaultTimeout(PATIENT);
  for (const [word, wanted] of [["ceiling", "evaluate.html"], ["write_run", "reference/python.html#exabench.write_run"]]) {
    await page.goto(address("index.html"));
    await page.fill("input[type=search], .sidebar-search", word);
    await page.press("input[type=search], .sidebar-search", "Enter");
    await page.locator("#search-results a").first().waitFor();
    await page.waitForFunction(() => /found/.test(document.querySelector(".search-summary")?.textContent));
    const found = await page.locator("#search-results a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
    assert.ok(found.includes(wanted), `${word}: ${found}`);
    await check(page, `the results for ${word}`);
  }
  assert.deepEqual(page.asked.filter((url) => !/^(file|data):/.test(url)), []);
  await page.context().close();
});
