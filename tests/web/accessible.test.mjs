// axe-core over every type of page, light and dark, wide and narrow. The pages' own policy forbids foreign scripts,
// axe among them, so that these tests alone switch it off.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { address, launch, newPage, pageTypes } from "./lib.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const PAGES = [...pageTypes("plain").map((name) => ["plain", name]), ["gaps", "index.html"]];

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

for (const colorScheme of ["light", "dark"]) {
  describe(`In the ${colorScheme} scheme axe-core finds nothing to mend`, () => {
    let page;
    before(async () => { page = await newPage(browser, { colorScheme, bypassCSP: true }); });
    after(() => page?.context().close());
    for (const [site, name] of PAGES) {
      test(`on ${name} of ${site}`, async () => {
        await page.goto(address(site, name));
        await page.evaluate(AXE);
        const found = await page.evaluate(
          (values) => window.axe.run(document, { runOnly: { type: "tag", values }, resultTypes: ["violations"] }), RULES);
        const lines = found.violations.flatMap((rule) =>
          rule.nodes.slice(0, 3).map((node) => `${rule.id}: ${node.html.slice(0, 200)} -- ${node.failureSummary}`));
        assert.deepEqual(lines, []);
      });
    }
  });
}

describe("A reader with a keyboard", () => {
  let page;
  before(async () => { page = await newPage(browser); });
  after(() => page?.context().close());
  for (const name of pageTypes("plain")) {
    test(`sees where the focus is on ${name}`, async () => {
      await page.goto(address("plain", name));
      const unseen = [];
      for (let i = 0; i < 25; i++) {
        await page.keyboard.press("Tab");
        const problem = await page.evaluate(() => {
          const element = document.activeElement;
          if (!element || element === document.body) return null;
          const style = getComputedStyle(element);
          const shown = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
          const box = element.getBoundingClientRect();
          // What lies under a sticky head is focused, yet not to be seen (WCAG 2.4.11).
          const x = box.x + Math.min(box.width / 2, 20), y = box.y + box.height / 2;
          const top = document.elementFromPoint(x, y);
          const covered = top && !element.contains(top) && !top.contains(element);
          return shown && !covered ? null : `${element.outerHTML.slice(0, 150)} ${covered ? "is covered" : "has no outline"}`;
        });
        if (problem) unseen.push(problem);
      }
      assert.deepEqual([...new Set(unseen)], []);
    });
  }
});
