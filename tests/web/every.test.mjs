// Every type of page: silent, under a strict policy, for keyboards, narrow screens and assistive technology alike.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { address, faultsFor, launch, newPage, pageTypes, serve } from "./lib.mjs";

const HOSTILE = ["index.html", "submissions/tester--hostile.html", "reported/hostile_1.html"];
const PAGES = [...pageTypes("plain").map((name) => ["plain", name]), ["gaps", "index.html"]];

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve("plain");
});
after(() => {
  server?.close();
  return browser?.close();
});

async function assertSilent(page, url, own) {
  await page.goto(url, { waitUntil: "load" });
  await page.waitForTimeout(100); // a script may ask for more once it has started
  assert.deepEqual(page.troubles, []);
  assert.deepEqual(page.asked.filter((asked) => !asked.startsWith(own) && !asked.startsWith("data:")), []);
}

async function assertNarrow(page) {
  await page.setViewportSize({ width: 360, height: 740 });
  const found = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    wide: [...document.body.querySelectorAll("*")].filter((node) => node.getBoundingClientRect().right > 361)
      .slice(0, 3).map((node) => node.outerHTML.slice(0, 120)),
  }));
  assert.ok(found.width <= 360, `${found.width} wide: ${found.wide.join(" | ")}`);
}

// Tab 25 times: what has the focus must be outlined, and must not lie under a sticky head (WCAG 2.4.11).
async function assertFocusIsSeen(page) {
  const unseen = new Set();
  for (let i = 0; i < 25; i++) {
    await page.keyboard.press("Tab");
    const problem = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const style = getComputedStyle(element);
      const shown = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
      const box = element.getBoundingClientRect();
      const top = document.elementFromPoint(box.x + Math.min(box.width / 2, 20), box.y + box.height / 2);
      const covered = top && !element.contains(top) && !top.contains(element);
      return shown && !covered ? null : `${element.outerHTML.slice(0, 150)} ${covered ? "is covered" : "has no outline"}`;
    });
    if (problem) unseen.add(problem);
  }
  assert.deepEqual([...unseen], []);
}

for (const [site, name] of PAGES) {
  describe(`${name} of ${site}`, () => {
    let page;
    before(async () => { page = await newPage(browser); });
    after(() => page?.context().close());

    test("from a folder, without a server, loads in silence and under a strict policy", async () => {
      await assertSilent(page, address(site, name), address(site, ""));
      const policy = await page.locator("meta[http-equiv='Content-Security-Policy' i]").getAttribute("content");
      assert.match(policy, /default-src 'none'/);
      assert.doesNotMatch(policy, /unsafe-|https?:|\*/);
    });
    test("shows a keyboard's focus", () => assertFocusIsSeen(page));
    test("does not scroll sideways at 360 pixels", () => assertNarrow(page));
    if (site === "plain") test("over http loads in silence", async () => {
      page.asked.length = 0;
      await assertSilent(page, `${server.origin}/${name}`, server.origin);
      assert.deepEqual(server.missing.splice(0), []);
    });

    // The policy forbids foreign scripts, axe among them: a page that ignores it.
    test("axe-core finds nothing to mend, light and dark", async () => {
      const open = await newPage(browser, { bypassCSP: true });
      await open.goto(address(site, name));
      assert.deepEqual(await faultsFor(open), []);
      await open.emulateMedia({ colorScheme: "dark" });
      assert.deepEqual(await faultsFor(open, ["color-contrast"]), [], "dark"); // nothing else depends on colours
      await open.context().close();
    });
  });
}

test("Hostile text does not make a page scroll sideways", async () => {
  const page = await newPage(browser);
  for (const name of HOSTILE) {
    await page.goto(address("hostile", name));
    await assertNarrow(page);
  }
  await page.context().close();
});

test("A script in the page is refused by the policy", async () => {
  const page = await newPage(browser);
  await page.goto(address("plain", "index.html"));
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.__pwned = 1";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.__pwned), undefined);
  assert.match(page.troubles.join(), /Content.Security.Policy/i);
  await page.context().close();
});
