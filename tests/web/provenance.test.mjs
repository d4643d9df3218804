// From a number to what it was made of: a query's two rankings side by side, commands to copy, rows down to the replies.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { address, filesOf, folderOf, launch, newPage, serve } from "./lib.mjs";

const RESULT = "results/tester--random/mini.bm25-100.html";
const dataOf = (file, name) => {
  const text = readFileSync(join(folderOf("plain"), file), "utf8");
  return JSON.parse(`[${text.slice(`exabench.${name}(`.length, -3)}]`)[2];
};
const list = dataOf("data/rankings/mini.bm25-100/0.js", "passages");
const tops = dataOf("data/rankings/tester--random/mini.bm25-100.js", "ranked");

let browser, page;
before(async () => { browser = await launch(); });
after(() => browser?.close());
beforeEach(async () => { page = await newPage(browser); });
afterEach(() => page?.context().close());

const panel = () => page.locator("#ranking");
const open = (hash = "") => page.goto(address("plain", RESULT) + hash);
const hash = () => decodeURIComponent(new URL(page.url()).hash);
const heading = () => panel().locator("h3").innerText();
const opened = (query) => page.waitForFunction((text) =>
  document.querySelector("#ranking h3")?.textContent.startsWith(`Query ${text}`), query);
const shown = () => panel().locator("section").evaluateAll((boxes) =>
  boxes.map((box) => [...box.querySelectorAll("li .id")].map((id) => id.textContent)));

describe("A query of a result", () => {
  test("opens by keyboard: first stage and reranked side by side, as the data have them", async () => {
    await open();
    assert.ok(await panel().isHidden());
    const link = page.locator("#sortable tbody th a").first(), query = await link.innerText();
    await link.focus();
    await page.keyboard.press("Enter");
    await opened(query);
    const place = list.queries.findIndex((one) => one[0] === query), ids = list.queries[place][3];
    assert.deepEqual(await shown(), [ids.slice(0, 10), tops[place].map((at) => ids[at])]);
    assert.equal(hash(), `#query=${query}`);
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H3", "the focus is at what opened");
    assert.equal(await link.getAttribute("aria-current"), "true");
    assert.deepEqual(page.troubles, []);
  });

  test("says where each passage came from and what it is worth", async () => {
    const place = list.queries.findIndex((_, at) => tops[at].some((rank, i) => rank > i)), query = list.queries[place];
    await open(`#query=${query[0]}`);
    await opened(query[0]);
    const lines = await panel().locator("section").nth(1).locator("li").allInnerTexts();
    tops[place].forEach((at, i) => {
      assert.match(lines[i], at === i ? /as before/ : at > i ? new RegExp(`▲ from ${at + 1}\\b`) : new RegExp(`▼ from ${at + 1}\\b`));
      if (query[4].length) assert.match(lines[i], query[4][at] === null ? /not judged/ : new RegExp(`grade ${query[4][at]}`));
      if (list.texts[query[3][at]]) assert.ok(lines[i].replace(/\s+/g, " ").includes(list.texts[query[3][at]][1].replace(/\s+/g, " ")));
    });
  });

  test("is left by the back button, which leaves the focus at its row", async () => {
    await open();
    const link = page.locator("#sortable tbody th a").nth(2);
    await link.click();
    await opened(await link.innerText());
    await page.goBack();
    await page.waitForFunction(() => document.getElementById("ranking").hidden);
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), await link.innerText());
    assert.equal(await link.getAttribute("aria-current"), null);
  });

  test("has neighbours in the order that the table is sorted by, and keeps that order in the address", async () => {
    await open("#sort=query");
    const names = await page.locator("#sortable tbody th a").allInnerTexts();
    assert.deepEqual(names, [...names].sort(new Intl.Collator("en", { numeric: true }).compare));
    await page.locator("#sortable tbody th a").first().click();
    await opened(names[0]);
    assert.equal(hash(), `#sort=query&query=${names[0]}`);
    await panel().getByRole("link", { name: "Query below" }).click();
    await opened(names[1]);
    assert.deepEqual(await page.locator("#sortable tbody th a").allInnerTexts(), names);
    await panel().getByRole("link", { name: "Close" }).click();
    await page.waitForFunction(() => document.getElementById("ranking").hidden);
    assert.equal(hash(), "#sort=query");
  });

  test("that is not there, or whose data are not, is said in words", async () => {
    await open("#query=no-such-query");
    assert.match(await panel().innerText(), /hold no query no-such-query/);
    const server = await serve("plain"); // a request for a file cannot be stopped, one over http can
    try {
      await page.route("**/data/rankings/mini.bm25-100/0.js", (route) => route.abort());
      await page.goto(`${server.origin}/${RESULT}`);
      await page.locator("#sortable tbody th a").first().click();
      await page.getByText("cannot be loaded").waitFor();
    } finally {
      server.close();
    }
  });

  test("is a row with an address of its own where there are no scripts", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const plain = await context.newPage(), query = list.queries[3][0];
    await plain.goto(`${address("plain", RESULT)}#query=${query}`);
    assert.ok(await plain.locator("#ranking").isHidden());
    assert.ok(await plain.locator(`[id="query=${query}"]`).isVisible());
    const text = await plain.locator("main").innerText();
    assert.match(text, /runs\/tester--random\/mini\.bm25-100\.trec\.gz/);
    assert.doesNotMatch(text, /Open a query/);
    await context.close();
  });
});

test("A command can be copied by a button that says what it did", async () => {
  await open();
  const button = page.getByRole("button", { name: /^Copy: exabench bench verify/ });
  await button.click();
  await page.getByText(/^copied$|^select the text and copy it$/).waitFor();
  assert.deepEqual(page.troubles, []);
});

test("A row leads to what the teacher replied, and every row has an address", async () => {
  const name = filesOf("plain").find((file) => /^datasets\/.*\/rows-contrastive\.html$/.test(file));
  await page.goto(address("plain", name));
  const card = page.locator("section.card").nth(1), reply = card.locator("details").last();
  assert.ok(await reply.locator("pre").first().isHidden());
  await reply.locator("summary").focus();
  await page.keyboard.press("Enter");
  assert.ok((await reply.locator("pre").first().innerText()).trim().length > 0);
  await card.locator("h2 a").click();
  assert.equal(await page.evaluate(() => document.querySelector(":target")?.id), await card.getAttribute("id"));
});
