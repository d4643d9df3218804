// The heat map: numbers that are differences, colours that follow them, other baselines, and no scripts needed.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { address, launch, newPage } from "./lib.mjs";

let browser, page;
before(async () => { browser = await launch(); });
after(() => browser?.close());
beforeEach(async () => { page = await newPage(browser); });
afterEach(() => page?.context().close());

const open = (site = "plain") => page.goto(address(site, "heat.html"));
const hash = () => decodeURIComponent(new URL(page.url()).hash);
const shades = (reader) => reader.locator("#board tbody tr").evaluateAll((rows) => rows.map((row) => ({
  name: row.querySelector("th").innerText,
  cells: [...row.querySelectorAll("td.n")].map((cell) => [cell.className, cell.innerText]) })));
const number = (text) => parseFloat(text.replace("†", "").replace("\u2212", "-"));

test("Without scripts the same lines stand there, against the first stage", async () => {
  await open();
  const plain = await newPage(browser, { javaScriptEnabled: false });
  await plain.goto(address("plain", "heat.html"));
  assert.deepEqual(await shades(plain), await shades(page));
  assert.equal(await plain.locator("input:visible, select:visible").count(), 0);
  await plain.context().close();
});

test("Ready views are offered where they leave out some of the systems that the map shows", async () => {
  await open();
  await page.locator("#filter").waitFor();
  for (const link of await page.locator("#presets a:visible").all()) {
    await page.evaluate(() => { location.hash = ""; });
    await page.waitForFunction(() => /^(\d+) of \1\b/.test(document.getElementById("status").innerText));
    await link.click();
    // The address changes at once, and the table a moment later.
    await page.waitForFunction(() => {
      const [, shown, whole] = document.getElementById("status").innerText.match(/^(\d+) of (\d+)/).map(Number);
      return shown < whole;
    });
  }
});

test("A line chosen as the baseline is all zeros, and the address keeps the choice", async () => {
  await open();
  const link = page.locator("#board tbody tr", { hasText: "tester/random" }).first().getByRole("link", { name: /^use as baseline/ });
  await link.click();
  await page.waitForFunction(() => document.getElementById("f-base").value);
  assert.match(hash(), /base=tester--random@bm25/);
  const rows = await shades(page);
  const own = rows.find((row) => row.name === "tester/random");
  assert.ok(own.cells.every(([kind, text]) => kind.includes("level") && text === "0.0"), JSON.stringify(own));
  for (const [kind, text] of rows.flatMap((row) => row.cells)) {
    const value = number(text), step = [0.5, 2, 5, 10].filter((limit) => Math.abs(value) >= limit).length;
    if ([0.5, 2, 5, 10].includes(Math.abs(value))) continue; // shown on a limit, it may lie a little below it
    assert.ok(kind.split(" ").includes(step ? `${value > 0 ? "up" : "down"}${step}` : "level"), `${text} is ${kind}`);
  }
  const stage = rows.find((row) => row.name.startsWith("first stage"));
  assert.ok(number(stage.cells[0][1]) > 0, "the first stage is a line now, and it is better than chance");
  const other = await newPage(browser);
  await other.goto(page.url());
  assert.deepEqual(await shades(other), rows);
  await other.context().close();
  await page.goBack();
  await page.waitForFunction(() => !document.getElementById("f-base").value);
});

test("What is missing is hatched and says so, and what was trained on has a sign beside the colour", async () => {
  await open("gaps");
  const gaps = page.locator("#board td.gap");
  assert.ok(await gaps.count() > 0);
  assert.equal(await gaps.first().innerText(), "–");
  assert.match(await gaps.first().evaluate((cell) => getComputedStyle(cell).backgroundImage), /repeating-linear-gradient/);
  await open();
  const trained = page.locator("#board td.trained");
  assert.ok(await trained.count() > 0);
  for (let i = 0; i < await trained.count(); i++) assert.match(await trained.nth(i).innerText(), /†/);
});

test("The overview's search and sorting work here, too", async () => {
  await open();
  const all = (await shades(page)).length;
  await page.getByRole("searchbox").fill("small");
  await page.waitForFunction((n) => document.querySelectorAll("#board tbody tr").length < n, all);
  assert.ok((await shades(page)).every((row) => /small/.test(row.name)));
  await page.locator("#reset").click();
  await page.waitForFunction((n) => document.querySelectorAll("#board tbody tr").length === n, all);
  await page.locator("#board thead button", { hasText: "Mean" }).click();
  await page.waitForFunction(() => document.querySelector("#board th[aria-sort]"));
  const means = (await shades(page)).map((row) => number(row.cells[0][1]));
  assert.deepEqual(means, [...means].sort((a, b) => b - a));
  assert.deepEqual(page.troubles, []);
});
