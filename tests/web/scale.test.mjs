// A board of 10,000 lines: what it weighs on the wire, how fast it answers, and that every line can be reached.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { address, folderOf, HERE, launch, newPage, visibleRows } from "./lib.mjs";

const PYTHON = process.env.PYTHON ?? join(HERE, "..", "..", ".venv", "bin", "python");
const LIMIT = 100; // milliseconds from the key or click to the new table, laid out
const TRIES = 8; // the best counts: other work on the machine only ever adds

let browser, page, tools;
before(async () => {
  const missing = [1_000, 10_000].filter((lines) => !existsSync(folderOf(`large-${lines}`)));
  if (missing.length) {
    const made = spawnSync(PYTHON, [join(HERE, "large.py"), process.env.SITES, ...missing.map(String)], { encoding: "utf8" });
    assert.equal(made.status, 0, made.stderr);
  }
  browser = await launch();
  page = await newPage(browser);
  page.setDefaultTimeout(60_000);
  tools = await page.context().newCDPSession(page);
  await tools.send("Performance.enable", { timeDomain: "threadTicks" });
});
after(() => browser?.close());

const weight = (site, names) => names.reduce((sum, name) =>
  sum + gzipSync(readFileSync(join(folderOf(site), name)), { level: 9 }).length, 0);

// The files of the site that a browser asks for when it opens a page.
async function asked(site, name) {
  const reader = await newPage(browser);
  reader.setDefaultTimeout(60_000); // a busy machine is no fault of the page's
  await reader.goto(address(site, name));
  await reader.waitForFunction(() => / shown/.test(document.getElementById("status").textContent));
  assert.deepEqual(reader.troubles, []);
  const root = address(site, "");
  const names = new Set(reader.asked.map((url) => url.split("#")[0].slice(root.length).replace(/^\//, "")));
  await reader.context().close();
  return [...names].filter((name) => !name.endsWith(".svg"));
}

// What the page's own thread has computed so far, in milliseconds: script, style and layout.
async function computed() {
  const { metrics } = await tools.send("Performance.getMetrics");
  const parts = ["ScriptDuration", "RecalcStyleDuration", "LayoutDuration"];
  return 1000 * metrics.filter(({ name }) => parts.includes(name)).reduce((sum, { value }) => sum + value, 0);
}

// Milliseconds from a change of the address to the new table, laid out: the address is what every control changes.
const answered = (hash) => page.evaluate((wanted) => new Promise((done) => {
  const start = performance.now();
  addEventListener("hashchange", () => {
    document.body.getBoundingClientRect();
    document.getElementById("board").offsetHeight;
    done(performance.now() - start);
  }, { once: true });
  location.hash = wanted;
}), hash);

describe("What the overview weighs on the wire, compressed", () => {
  for (const [site, limit] of [["large-1000", 200], ["large-10000", 600]]) {
    test(`at ${site.slice(6)} lines is at most ${limit} KB`, async (t) => {
      const names = await asked(site, "index.html");
      const found = weight(site, names) / 1000;
      t.diagnostic(`${found.toFixed(1)} KB: ${names.join(", ")}`);
      assert.ok(names.includes("data/overview.all-tasks.js"));
      assert.ok(found <= limit, `${found} KB`);
    });
  }

  test("of its own script and style stays small", () => {
    assert.ok(weight("large-1000", ["static/toolkit.js", "static/board.js", "static/overview.js"]) <= 20_000);
    assert.ok(weight("large-1000", ["static/style.css"]) <= 8_000);
  });
});

describe("A board of 10,000 lines", () => {
  before(async () => {
    await page.goto(address("large-10000", "index.html"));
    await page.waitForFunction(() => / of 10000 shown/.test(document.getElementById("status").textContent));
  });

  for (const [what, hashes] of [
    ["sorts by a number", ["sort=-mean", "sort=flops"]],
    ["sorts by a text", ["sort=name", "sort=-training"]],
    ["sorts by three columns", ["sort=stage,-depth,name", "sort=-date,owner,-latency"]],
    ["searches", ["q=minilm", "q=t5 twolar"]],
    ["filters", ["zero=yes&licence=(open)&to=500", "stage=bm25&depth=100&state=reproduced"]],
    ["turns a page", ["page=40", "page=41"]],
  ]) {
    test(`${what} within ${LIMIT} ms`, async (t) => {
      const times = [], own = [];
      for (let i = 0; i < TRIES; i++) {
        for (const hash of hashes) {
          const start = await computed();
          times.push(await answered(hash));
          own.push(await computed() - start);
        }
      }
      t.diagnostic(`by the clock ${times.map(Math.round).join(" ")} ms, computed ${own.map(Math.round).join(" ")} ms`);
      // On a machine that others use as well the clock counts their work; what the page computes is its own.
      assert.ok(Math.min(...times) <= LIMIT || Math.min(...own) <= LIMIT, `${times.map(Math.round)} ms`);
    });
  }

  test("shows 100 lines a page, and every line stands on one page", async () => {
    const names = new Set();
    for (const number of [1, 2, 3, 99, 100]) {
      await answered(number === 1 ? "sort=name" : `sort=name&page=${number}`);
      const rows = await visibleRows(page);
      assert.equal(rows.length, 100);
      rows.forEach((row) => names.add(row));
    }
    assert.equal(names.size, 500);
    assert.match(await page.locator("#pager").innerText(), /Page 100 of 100/);
  });

  test("asks for the tasks' own columns only when they are wanted, and means follow the chosen tasks", async () => {
    await page.goto("about:blank");
    await page.goto(address("large-10000", "index.html"));
    await page.waitForFunction(() => / of 10000 shown/.test(document.getElementById("status").textContent));
    page.asked.length = 0;
    await page.evaluate(() => { location.hash = "tasks=nq,scifact&sort=-mean"; });
    await page.locator("th[data-key='t.scifact']").waitFor();
    assert.equal(page.asked.filter((url) => url.includes("overview.all-tasks.tasks.js")).length, 1);
    const rows = await page.locator("#board tbody tr").evaluateAll((lines) => lines.slice(0, 20).map((line) => ({
      group: line.cells[0].innerText, mean: parseFloat(line.cells[2].innerText),
      tasks: [7, 8].map((place) => parseFloat(line.cells[place].innerText.replace("†", ""))) })));
    for (const { group, mean, tasks } of rows) {
      assert.equal(group, "–", "a group belongs to all tasks");
      assert.ok(Math.abs(mean - (tasks[0] + tasks[1]) / 2) <= 0.1001, `${mean} is not the mean of ${tasks}`);
    }
    assert.deepEqual(rows.map((row) => row.mean), rows.map((row) => row.mean).sort((a, b) => b - a));
    assert.match(await page.locator("#remark").innerText(), /2 of 20 tasks/);
    assert.deepEqual(page.troubles, []);
  });
});
