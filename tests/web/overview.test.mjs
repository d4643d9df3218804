// What a reader does with the overview: sort, search, filter, share the address, print, read it without scripts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { address, launch, newPage, visibleRows } from "./lib.mjs";

const FRONT = address("plain", "index.html"); // one contest
const INDEX = address("plain", "views/the-embedded-collection.html"); // all lists: more rows, and every filter

let browser, page;
before(async () => { browser = await launch(); });
after(() => browser?.close());
beforeEach(async () => {
  page = await newPage(browser);
  await page.goto(INDEX);
});
afterEach(() => page?.context().close());

const search = () => page.getByRole("searchbox").or(page.getByRole("textbox")).first();
const reset = () => page.getByRole("link", { name: /reset/i }).or(page.getByRole("button", { name: /reset/i })).first();
const headers = () => page.locator("table").first().locator("thead th:has(button)");
const sorted = () => page.locator("table").first().locator("th[aria-sort='ascending'], th[aria-sort='descending']");
const hash = () => decodeURIComponent(new URL(page.url()).hash);

// The page may wait a moment for the reader to end typing, so that counts are waited for.
async function untilRows(wanted, message) {
  await page.waitForFunction((n) =>
    [...document.querySelector("table").querySelectorAll("tbody tr")].filter((row) => row.checkVisibility()).length === n,
  wanted, { timeout: 3000 }).catch(() => {});
  assert.equal((await visibleRows(page)).length, wanted, message);
}

// Sorting follows the address, which the browser reports a moment later.
async function pressed(head, options = {}) {
  const before = await head.getAttribute("aria-sort");
  await head.getByRole("button").first().click(options);
  return changed(head, before);
}

async function changed(head, before) {
  for (let i = 0; i < 40 && (await head.getAttribute("aria-sort")) === before; i++) await page.waitForTimeout(25);
  return head.getAttribute("aria-sort");
}

async function saysHowMany(shown, all) {
  const text = await page.locator("main, body").first().innerText();
  assert.match(text, new RegExp(`\\b${shown} of ${all}\\b`), `"${shown} of ${all}" is not on the page`);
}

// Every filter in sight.
async function choices() {
  const details = page.locator("#more");
  if (!(await details.evaluate((found) => found.open))) await details.locator("summary").click();
  return page.getByRole("combobox");
}

// The visible texts of one column, top to bottom.
function column(index) {
  return page.locator("table").first().locator("tbody tr").evaluateAll((rows, i) =>
    rows.filter((row) => row.checkVisibility()).map((row) => row.cells[i].innerText.trim()), index);
}

describe("Sorting the overview", () => {
  test("by a click turns every column up and down, says so in aria-sort, and keeps every row", async () => {
    const before = [...await visibleRows(page)].sort();
    assert.ok(before.length >= 4);
    const count = await headers().count();
    assert.ok(count >= 4, "the heads hold buttons");
    for (let i = 0; i < count; i++) {
      const head = headers().nth(i);
      const label = (await head.innerText()).trim();
      const at = await head.evaluate((th) => th.cellIndex);
      const seen = {};
      for (let click = 0; click < 2; click++) {
        const direction = await pressed(head);
        assert.equal(await sorted().count(), 1, `${label}: one head alone carries the sort`);
        assert.ok(["ascending", "descending"].includes(direction), `${label}: aria-sort is ${direction}`);
        seen[direction] = await column(at);
        assert.deepEqual([...await visibleRows(page)].sort(), before, `${label}: a row came or went`);
      }
      assert.deepEqual(Object.keys(seen).sort(), ["ascending", "descending"], `${label}: the second click turns the order`);
      const missing = (text) => /^(–|-|)$/.test(text);
      for (const [direction, cells] of Object.entries(seen)) {
        const first = cells.findIndex(missing);
        assert.ok(first < 0 || cells.slice(first).every(missing), `${label}: a missing value is not last, ${direction}`);
      }
      // Numbers must be in the order of the numbers ("9.1" before "10.2"); a date is none.
      const cells = seen.ascending.filter((text) => !missing(text)).map((text) => text.replace("\u2212", "-"));
      if (cells.every((text) => /^[-+]?\d+(\.\d+)?(\s.*)?$/s.test(text))) {
        const numbers = cells.map(parseFloat);
        assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), `${label}: not in the order of the numbers`);
      }
      if (new Set(cells).size > 1) assert.notDeepEqual(seen.ascending, seen.descending, `${label}: both orders are one`);
    }
  });

  test("by the keyboard alone works, and the focus stays on the head", async () => {
    const focused = () => page.evaluate(() => document.activeElement.closest("th")?.innerText ?? "");
    for (let i = 0; i < 60 && !(await focused()); i++) await page.keyboard.press("Tab");
    const label = await focused();
    assert.ok(label, "Tab reaches a head of the table");
    const directions = [];
    for (const key of ["Enter", "Space"]) {
      const head = page.locator("th", { has: page.locator("button:focus") });
      const before = await head.getAttribute("aria-sort");
      await page.keyboard.press(key);
      directions.push(await changed(head, before));
      assert.equal(await focused(), label);
    }
    assert.deepEqual(directions.sort(), ["ascending", "descending"]);
  });

  test("by a second column, with Shift, orders what the first leaves equal", async () => {
    await pressed(headers().filter({ hasText: "Depth" }).first());
    await headers().filter({ hasText: "System" }).first().getByRole("button").click({ modifiers: ["Shift"] });
    const said = await page.locator("[aria-live], [role=status], output").allInnerTexts();
    assert.match(said.join(" "), /sorted|ascending|descending|order/i, "it is announced to those who cannot see it");
    await page.waitForTimeout(200);
    const cells = async (name) => column(await headers().filter({ hasText: name }).first().evaluate((th) => th.cellIndex));
    const depths = await cells("Depth"), names = await cells("System");
    const pairs = depths.map((depth, i) => [Number(depth), names[i]]);
    const up = (await headers().filter({ hasText: "Depth" }).first().getAttribute("aria-sort")) === "ascending" ? 1 : -1;
    assert.deepEqual(pairs, [...pairs].sort((a, b) => up * (a[0] - b[0]) || a[1].localeCompare(b[1])));
  });
});

describe("Searching and filtering the overview", () => {
  test("shows the rows that hold the words, says how many of how many, and puts it in the address", async () => {
    const all = (await visibleRows(page)).length;
    await search().fill("HALVED"); // whatever the case of the letters
    await untilRows(1);
    assert.match((await visibleRows(page))[0], /halved/);
    await saysHowMany(1, all);
    assert.match(hash(), /halved/i);
    await page.waitForTimeout(400);
    await page.evaluate(() => { location.hash = ""; }); // an address that is changed by hand is followed
    await untilRows(all);
    // Nothing is left: the page says so, and the way back is in sight.
    await search().fill("no such model");
    await untilRows(0);
    await saysHowMany(0, all);
    await reset().click();
    await untilRows(all);
    assert.equal(await search().inputValue(), "");
    assert.doesNotMatch(hash(), /no such/);
  });

  test("by each select narrows the rows, and its address alone gives the same view in a new window", async () => {
    const all = (await visibleRows(page)).length;
    const count = await (await choices()).count();
    assert.ok(count >= 4, "type, depth, state and zero-shot can be chosen");
    for (let i = 0; i < count; i++) {
      const select = (await choices()).nth(i);
      const options = await select.locator("option").evaluateAll((found) => found.map((option) => option.value));
      for (const value of options.slice(1)) {
        await select.selectOption(value);
        await page.waitForTimeout(50);
        const rows = await visibleRows(page);
        assert.ok(rows.length > 0, `an offered choice (${value}) finds nothing`);
        await saysHowMany(rows.length, all);
        const other = await newPage(browser);
        await other.goto(page.url());
        assert.deepEqual(await visibleRows(other), rows, `${page.url()} gives another view`);
        await other.context().close();
      }
      await reset().click();
      await untilRows(all);
    }
  });

  test("keeps the view, order included, when the address is loaded again and when the reader comes back", async () => {
    await (await choices()).nth(1).selectOption({ index: 1 });
    await page.waitForTimeout(400);
    await search().fill("tester");
    await page.waitForTimeout(400);
    await pressed(headers().nth(1));
    await pressed(headers().nth(1));
    const rows = await visibleRows(page);
    const order = await sorted().first().innerText();
    assert.ok(rows.length > 0);
    const same = async (when) => {
      await page.waitForTimeout(200);
      assert.deepEqual(await visibleRows(page), rows, when);
      assert.equal(await search().inputValue(), "tester", when);
      assert.equal(await sorted().first().innerText(), order, when);
    };
    await page.reload();
    await same("after loading again");
    const view = page.url();
    await page.locator("table").first().locator("tbody tr:visible a").first().click();
    await page.waitForLoadState();
    assert.notEqual(page.url(), view);
    await page.goBack();
    await same("after coming back");
  });

  test("keeps the words of a reader who types and at once does something else", async () => {
    const others = [
      () => headers().nth(1).getByRole("button").click(),
      async () => (await choices()).nth(1).selectOption({ index: 1 }),
    ];
    for (const other of others) {
      await page.goto("about:blank");
      await page.goto(INDEX);
      await search().fill("halved");
      await other();
      await untilRows(1);
      assert.equal(await search().inputValue(), "halved");
      assert.match(hash(), /halved/);
    }
  });

  test("is undone choice by choice with the back button", async () => {
    const all = (await visibleRows(page)).length;
    const select = (await choices()).nth(1);
    const index = (await select.locator("option").count()) - 1;
    await select.selectOption({ index });
    await page.waitForTimeout(200);
    assert.ok((await visibleRows(page)).length < all);
    await page.goBack();
    await untilRows(all);
    assert.equal(await select.inputValue(), "");
  });

  test("can hide the incomplete rows", async () => {
    await page.goto(address("gaps", "index.html"));
    const all = (await visibleRows(page)).length;
    assert.ok(all > 0, "incomplete rows are shown at first");
    for (const row of await visibleRows(page)) assert.match(row, /\b1\s*(of|\/)\s*2\b/, "no plain mean");
    for (let i = 0; i < await headers().count(); i++) {
      await pressed(headers().nth(i));
      assert.equal((await visibleRows(page)).length, all, "a row without a mean went");
    }
    await choices();
    await page.getByLabel("Hide incomplete").check();
    await untilRows(0);
    await saysHowMany(0, all);
    await page.reload();
    await untilRows(0, "after loading again");
    assert.ok(await reset().isVisible());
  });

  test("is not put out by odd addresses", async () => {
    const all = (await visibleRows(page)).length;
    const odd = ["#%", "#q=%E0%A4%A", "#sort=__proto__", "#sort=999&q", "#__proto__=1&constructor=2", "#=&&==", "#main"];
    for (const hash of odd) {
      const other = await newPage(browser);
      await other.goto(INDEX + hash);
      assert.deepEqual(other.troubles, [], hash);
      assert.ok(all > 0 && await other.locator("table").first().isVisible(), hash);
      await other.context().close();
    }
  });
});

describe("Choosing what the overview shows", () => {
  const opened = async (id) => {
    const details = page.locator(`#${id}`);
    if (!(await details.evaluate((found) => found.open))) await details.locator("summary").click();
    return details;
  };
  const remark = () => page.locator("#remark");
  const keys = () => page.locator("#board thead th").evaluateAll((heads) => heads.map((head) => head.dataset.key));

  test("a ready view is one click away and its address says what it is", async () => {
    const all = (await visibleRows(page)).length;
    await page.getByRole("link", { name: "Reproduced here" }).click();
    await page.waitForFunction((n) => document.querySelectorAll("#board tbody tr").length < n, all);
    for (const row of await visibleRows(page)) assert.match(row, /reproduced/);
    assert.match(hash(), /state=reproduced/);
    await page.getByRole("link", { name: /^Open, up to 100 M/ }).click();
    await page.waitForFunction(() => document.getElementById("f-to").value === "100");
    for (const row of await visibleRows(page)) assert.match(row, / 22\.7 |first stage/);
    await page.goto(FRONT);
    const offered = await page.locator("#presets a:visible").evaluateAll((links) => links.map((link) => link.hash));
    for (const view of offered) {
      await page.evaluate((to) => { location.hash = to; }, view);
      await page.waitForFunction((to) => location.hash === to, view);
      const [, shown, whole] = (await page.locator("#status").innerText()).match(/^(\d+) of (\d+)/).map(Number);
      assert.ok(shown > 0 && shown < whole, `${view} shows ${shown} of ${whole}`);
    }
  });

  test("by zero-shot, licence, owner and parameters, which stand under More filters", async () => {
    await opened("more");
    await page.locator("#f-zero").selectOption("no");
    await untilRows(2);
    for (const row of await visibleRows(page)) assert.match(row, /tester\/small.*\u2020/);
    await page.locator("#f-zero").selectOption("");
    await page.locator("#f-owner").selectOption("tester");
    await untilRows(8);
    await page.locator("#f-from").fill("22");
    await page.locator("#f-from").press("Enter");
    await untilRows(5, "lines whose parameters are not known are left out");
    await page.locator("#f-to").fill("22.5");
    await page.locator("#f-to").press("Tab");
    await untilRows(0);
    assert.match(hash(), /owner=tester.*from=22.*to=22\.5/);
  });

  test("by columns, which the address keeps", async () => {
    const before = await keys();
    const columns = await opened("choose-columns");
    await columns.getByLabel("Owner").uncheck();
    await columns.getByLabel("Date").uncheck();
    await page.waitForFunction(() => !document.querySelector("th[data-key='owner']"));
    const after = await keys();
    assert.deepEqual(after, before.filter((key) => key !== "owner" && key !== "date"));
    await page.reload();
    await page.waitForFunction(() => !document.querySelector("th[data-key='owner']"));
    assert.deepEqual(await keys(), after);
  });

  test("by tasks: means follow, groups and intervals are hidden, and a line of words says so", async () => {
    await page.goto(address("gaps", "index.html"));
    await (await opened("choose-tasks")).getByLabel("mini", { exact: true }).waitFor();
    await page.locator("#choose-tasks").getByLabel("scifact", { exact: true }).uncheck();
    await page.waitForFunction(() => /tasks=mini/.test(location.hash));
    await page.waitForFunction(() => !/tasks/.test(document.querySelector("#board tbody").innerText));
    const rows = await page.locator("#board tbody tr").evaluateAll((found) => found.map((row) => row.cells[2].innerText));
    assert.ok(rows.every((text) => /^\d+\.\d$/.test(text)), `${rows} hold an interval or no mean`);
    assert.match(await remark().innerText(), /1 of 2 tasks \(mini\)/);
    assert.deepEqual(page.troubles, []);
  });

  test("and sending it: a permalink names the build, and says so when the board has moved on", async () => {
    const link = new URL(await page.locator("#permalink").getAttribute("href"), page.url());
    assert.match(link.hash, /build=[0-9a-f]{12}/);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.locator("#permalink").click();
    await page.waitForFunction(() => document.getElementById("permalink").textContent === "Link copied");
    const other = await newPage(browser);
    await other.goto(link.href);
    assert.equal(await other.locator("#remark").isVisible(), false);
    await other.goto("about:blank");
    await other.goto(`${INDEX}#q=small&build=0123456789ab`);
    assert.match(await other.locator("#remark").innerText(), /made for build 0123456789ab; the board is now at build/);
    assert.equal((await visibleRows(other)).length, 2);
    await other.context().close();
  });
});

test("Without scripts the overview holds every row, a caption, its heads and no control that does nothing", async () => {
  const rows = await visibleRows(page);
  const plain = await newPage(browser, { javaScriptEnabled: false });
  await plain.goto(INDEX);
  assert.equal(await plain.locator("table").first().locator("tbody tr:visible").count(), rows.length);
  for (const name of ["tester/random", "tester/halved"]) {
    assert.ok(await plain.getByRole("link", { name }).first().isVisible(), `${name} is missing`);
  }
  const heads = await plain.locator("table").first().locator("thead th").allInnerTexts();
  assert.ok(heads.length > 3 && heads.every((text) => text.trim()), `a head is empty: ${heads}`);
  assert.ok((await plain.locator("table caption").first().innerText()).trim());
  assert.equal(await plain.locator("input:visible, select:visible").count(), 0);
  await plain.context().close();
});

test("On paper the filter bar is gone, the whole table is there, and dark readers get dark text on white", async () => {
  const rows = await visibleRows(page);
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  assert.equal(await page.locator("input:visible, select:visible").count(), 0);
  assert.deepEqual(await visibleRows(page), rows);
  const ink = await page.evaluate(() => getComputedStyle(document.body).color.match(/\d+(\.\d+)?/g).map(Number));
  assert.ok(ink.slice(0, 3).every((part) => part < 100), `the text is printed in ${ink}`);
});

describe("One contest at a time", () => {
  beforeEach(() => page.goto(FRONT));

  test("the front is one candidate list, and links lead to the others and to all of them, scripts or not", async () => {
    for (const javaScriptEnabled of [true, false]) {
      const reader = await newPage(browser, { javaScriptEnabled });
      await reader.goto(FRONT);
      const lists = reader.getByRole("navigation", { name: "Candidate lists" });
      assert.deepEqual(await lists.getByRole("link").allInnerTexts(), ["bm25, top 20", "bm25, top 100", "Best pipeline"]);
      const rows = await visibleRows(reader);
      assert.ok(rows.some((row) => row.startsWith("first stage: bm25")) && rows.some((row) => row.includes("halved")));
      await lists.getByRole("link", { name: "bm25, top 100" }).click();
      await reader.waitForURL(/the-embedded-collection\.bm25-100\.html/);
      assert.ok(!(await visibleRows(reader)).some((row) => row.includes("halved")));
      assert.deepEqual(reader.troubles, []);
      await reader.context().close();
    }
  });

  for (const [width, height] of [[1440, 900], [390, 844]]) {
    test(`the table is in sight at ${width} x ${height}, its head and its names stay there, a row is one line`, async (t) => {
      await page.setViewportSize({ width, height });
      const first = await page.locator("#board tbody tr").first().boundingBox();
      t.diagnostic(`the first row begins at ${Math.round(first.y)}`);
      assert.ok(first.y + first.height < 0.62 * height, `the first row lies at ${first.y}`);
      const found = await page.evaluate(() => {
        const region = document.querySelector(".scroll.tall"), name = document.querySelector("#board tbody th"), head = document.querySelector("#board thead th");
        const before = [name.getBoundingClientRect().left, head.getBoundingClientRect().top];
        region.style.maxHeight = "120px";
        region.scrollTo(400, 60);
        const after = [name.getBoundingClientRect().left, head.getBoundingClientRect().top];
        const heights = [...document.querySelectorAll("#board tbody tr")].map((row) => row.getBoundingClientRect().height);
        return { before, after, tallest: Math.max(...heights), scrolled: [region.scrollLeft, region.scrollTop] };
      });
      assert.deepEqual(found.after, found.before);
      assert.ok(found.scrolled[1] > 0 && found.tallest < 40, JSON.stringify(found));
    });
  }

  test("rows that are chosen are compared, two by every query and more by pairs, and the address keeps them", async () => {
    const compare = page.locator("#compare");
    assert.equal(await compare.getAttribute("href"), null);
    for (const name of ["tester/random", "tester/small"]) await page.getByLabel(`Choose ${name}`).check();
    assert.match(hash(), /rows=tester--random\.bm25-20,tester--small\.bm25-20/);
    await page.reload();
    await page.getByLabel("Choose first stage: bm25").check();
    assert.match(await compare.getAttribute("href"), /^significance\.html#of=view\.the-embedded-collection\.bm25-20&lines=/);
    await page.getByLabel("Choose first stage: bm25").uncheck();
    await compare.click();
    await page.waitForURL(/compare\.html#a=tester--random\.bm25-20&b=tester--small\.bm25-20/);
    await page.getByRole("heading", { name: /task/i }).first().waitFor();
    assert.deepEqual(page.troubles, []);
  });

  test("the rows shown are saved as CSV and as LaTeX", async () => {
    await page.goto(`${FRONT}#q=tester&sort=name`);
    await page.waitForFunction(() => location.hash && document.querySelectorAll("#board tbody tr").length === 5);
    const saved = async (button) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
      return [download.suggestedFilename(), readFileSync(await download.path(), "utf8")];
    };
    const [file, csv] = await saved("CSV");
    assert.equal(file, "the-embedded-collection.bm25-20.csv");
    const [heads, ...lines] = csv.trimEnd().split("\n");
    assert.match(heads, /^System,Group,Mean nDCG@10,low,high,/);
    assert.deepEqual(lines.map((line) => line.split(",")[0]), ["tester/behind-a-server", "tester/halved", "tester/large-with-a-long-name-that-has-no-room", "tester/random", "tester/small"]);
    const [name, latex] = await saved("LaTeX");
    assert.equal(name, "the-embedded-collection.bm25-20.tex");
    assert.match(latex, /\\begin\{tabular\}\{lr[lr]+\}\n\\toprule/);
    assert.equal(latex.match(/^tester.*\\\\$/gm).length, 5);
    assert.deepEqual(page.troubles, []);
  });

  test("the menu has five entries at most, and the pages of an entry lie beneath it", async () => {
    const entries = await page.getByRole("navigation", { name: "Site" }).getByRole("link").allInnerTexts();
    assert.deepEqual(entries, ["Leaderboard", "Compare", "Datasets & models", "Submit", "About"]);
    await page.goto(address("plain", "submissions/tester--small.html"));
    await page.getByRole("navigation", { name: "Leaderboard" }).getByRole("link", { name: "Heat map" }).click();
    await page.waitForURL(/heat\.html/);
  });
});
