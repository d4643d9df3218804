// 2,000 hostile names, a hostile description and title: all of it is shown as text and none of it acts.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { address, filesOf, launch, newPage, pageTypes } from "./lib.mjs";

const REPORTED = filesOf("hostile").filter((name) => /^reported\/(?!index)/.test(name));
const PAGES = [...new Set([...pageTypes("hostile"), ...REPORTED, "submissions/tester--hostile.html"])];

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

// What a page holds that could act; our own scripts come from files of the site.
const actors = () => {
  const found = [];
  const root = location.href.slice(0, location.href.indexOf("/site/") + 6);
  for (const node of document.querySelectorAll("*")) {
    const name = node.localName;
    if (name === "script" && !(node.src.startsWith(root) && !node.textContent.trim())) found.push(node.outerHTML);
    if (["iframe", "frame", "object", "embed", "base", "img", "form", "template", "math"].includes(name)
      && !(name === "img" && node.src.startsWith(root)) && !(name === "form" && !node.hasAttribute("action"))) found.push(node.outerHTML);
    if (name === "meta" && /refresh/i.test(node.httpEquiv)) found.push(node.outerHTML);
    for (const { name: key, value } of node.attributes) {
      if (/^on/i.test(key) || ["srcdoc", "autofocus", "style"].includes(key)) found.push(node.outerHTML);
      if (["href", "src", "action", "formaction", "xlink:href"].includes(key)
        && !["file:", "https:", "mailto:"].includes(new URL(value, location.href).protocol)
        && !/^data:(image\/|,)/.test(value)) found.push(node.outerHTML);
      if (/evil\.example/.test(value) && key !== "title" && /href|src|action/.test(key)) found.push(node.outerHTML);
    }
  }
  return { found: found.slice(0, 5).map((html) => html.slice(0, 200)), pwned: window.__pwned ?? null };
};

// Moving over, focusing and pressing everything is what a handler hidden in an attribute waits for.
const provoke = () => {
  for (const node of document.querySelectorAll("main *, body > *")) {
    for (const type of ["mouseover", "mouseenter", "focus", "toggle", "load", "error"]) node.dispatchEvent(new Event(type));
  }
};

describe("Hostile text does nothing", () => {
  for (const name of PAGES) {
    test(`on ${name}`, async () => {
      const page = await newPage(browser);
      await page.goto(address("hostile", name));
      await page.evaluate(provoke);
      const button = page.locator("th button").first();
      if (await button.count()) await button.click();
      await page.waitForTimeout(50);
      const { found, pwned } = await page.evaluate(actors);
      assert.equal(pwned, null);
      assert.deepEqual(found, []);
      assert.deepEqual(page.troubles, []);
      assert.deepEqual(page.asked.filter((asked) => !asked.startsWith(address("hostile", ""))), []);
      await page.context().close();
    });
  }

  test("when it comes in the address of the overview", async () => {
    const page = await newPage(browser);
    for (const text of ["<img src=x onerror=window.__pwned=1>", "\"><script>window.__pwned=1</script>", "javascript:window.__pwned=1"]) {
      for (const key of ["q", "sort", "stage", "depth", "state"]) {
        await page.goto(`${address("hostile", "index.html")}#${key}=${encodeURIComponent(text)}`);
        const { found, pwned } = await page.evaluate(actors);
        assert.equal(pwned, null);
        assert.deepEqual(found, []);
      }
    }
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });
});

test("No sign that turns the direction of writing reaches beyond its own cell", async () => {
  const page = await newPage(browser);
  await page.goto(address("hostile", REPORTED[0]));
  // Such a sign acts to the end of the nearest isolate or block; nothing else may stand in there.
  const loose = await page.evaluate(() => [...document.querySelectorAll("*")].filter((node) => {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && /[\u202a-\u202e\u2066-\u2069]/.test(child.data))) return false;
    let reach = node;
    for (let style = getComputedStyle(reach); style.display.startsWith("inline") && !/isolate|plaintext/.test(style.unicodeBidi);) {
      reach = reach.parentElement;
      style = getComputedStyle(reach);
    }
    return reach.textContent.trim() !== node.textContent.trim();
  }).slice(0, 3).map((node) => node.outerHTML.slice(0, 150)));
  assert.deepEqual(loose, []);
  await page.context().close();
});
