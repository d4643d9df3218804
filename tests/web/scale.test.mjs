// A board of 10,000 lines: what it weighs on the wire, how fast it answers, and that every line can be reached.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { pathToFileURL } from "node:url";
import { folderOf, launch, newPage, visibleRows } from "./lib.mjs";

const TASKS = ("trec-covid nfcorpus nq hotpotqa fiqa arguana webis-touche2020 quora dbpedia-entity scidocs fever climate-fever "
  + "scifact cqadupstack trec-dl-2019 trec-dl-2020 trec-news signal1m robust04 bioasq").split(" ");
const LIMIT = 100; // milliseconds from the key or click to the new table, laid out
const TRIES = 8; // the best counts: other work on the machine only ever adds
const ROOM = 2; // on a slow machine, how many times as long as the browser takes for the same rows as plain HTML

const siteOf = (lines) => join(folder, `large-${lines}`);
const address = (lines, name) => pathToFileURL(join(siteOf(lines), name)).href;

// A copy of the plain site whose overview has that many lines: values of the real ones, drawn column by column,
// with other numbers and names, so that they do not compress better than a real board's.
function enlarge(lines) {
  cpSync(folderOf("plain"), siteOf(lines), { recursive: true });
  let seed = 20_260_102;
  const drawn = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const repeated = (make) => Array.from({ length: lines }, (_, i) => make(i));
  const numbered = (text, i) => `${text}-${i}-${Math.floor(1e9 * drawn()).toString(36)}`;
  const named = { system: numbered, slug: numbered,
    owner: (text, i) => `${text}-${i % 300}`, exposure: (text) => text[0].repeat(TASKS.length) };
  const changed = (key, value, i) => named[key]?.(value, i)
    ?? (typeof value === "number" && value % 1 ? Number((value * (0.8 + 0.4 * drawn())).toPrecision(6)) : value);
  const write = (name, call, change) => {
    const file = join(siteOf(lines), "data", name);
    const data = JSON.parse(readFileSync(file, "utf8").slice(`exabench.${call}(`.length, -3));
    change(data);
    writeFileSync(file, `exabench.${call}(${JSON.stringify(data)});\n`);
  };
  write("overview.the-embedded-collection.bm25-20.js", "overview", (data) => {
    data.tasks = TASKS.map((name) => [name, 1]);
    data.showTasks = 0;
    for (const [key, column] of Object.entries(data.lines)) {
      data.lines[key] = repeated((i) => changed(key, column[Math.floor(drawn() * column.length)], i));
    }
  });
  write("overview.the-embedded-collection.bm25-20.tasks.js", "scores", (data) => {
    data.values = TASKS.map(() => repeated(() => Number(drawn().toPrecision(6))));
  });
}

let folder, browser, page, tools;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "scale-"));
  for (const lines of [1_000, 10_000]) enlarge(lines);
  browser = await launch();
  page = await newPage(browser);
  page.setDefaultTimeout(60_000);
  tools = await page.context().newCDPSession(page);
  await tools.send("Performance.enable", { timeDomain: "threadTicks" });
});
after(async () => {
  await browser?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const weight = (lines, names) => names.reduce((sum, name) =>
  sum + gzipSync(readFileSync(join(siteOf(lines), name)), { level: 9 }).length, 0);

// The files of the site that a browser asks for when it opens a page.
async function asked(lines, name) {
  const reader = await newPage(browser);
  reader.setDefaultTimeout(60_000); // a busy machine is no fault of the page's
  await reader.goto(address(lines, name));
  await reader.waitForFunction(() => / shown/.test(document.getElementById("status").textContent));
  assert.deepEqual(reader.troubles, []);
  const root = address(lines, "");
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

// Milliseconds that the browser itself computes for the rows now shown, given to it as plain HTML.
async function plainly() {
  const start = await computed();
  await page.evaluate(() => {
    const [body] = document.getElementById("board").tBodies;
    body.innerHTML = body.innerHTML;
    document.getElementById("board").offsetHeight;
  });
  return await computed() - start;
}

describe("What the overview weighs on the wire, compressed", () => {
  for (const [lines, limit] of [[1_000, 200], [10_000, 600]]) {
    test(`at ${lines} lines is at most ${limit} KB`, async (t) => {
      const names = await asked(lines, "index.html");
      const found = weight(lines, names) / 1000;
      t.diagnostic(`${found.toFixed(1)} KB: ${names.join(", ")}`);
      assert.ok(names.includes("data/overview.the-embedded-collection.bm25-20.js"));
      assert.ok(found <= limit, `${found} KB`);
    });
  }
});

describe("A board of 10,000 lines", () => {
  before(async () => {
    await page.goto(address(10_000, "index.html"));
    await page.waitForFunction(() => / of 10000 systems shown/.test(document.getElementById("status").textContent));
  });

  for (const [what, hashes] of [
    ["sorts by a number", ["sort=-mean", "sort=flops"]],
    ["sorts by a text", ["sort=name", "sort=-training"]],
    ["sorts by three columns", ["sort=kind,-mean,name", "sort=-date,owner,-latency"]],
    ["searches", ["q=small", "q=random 77"]],
    ["filters", ["zero=yes&licence=(open)&to=500", "stage=bm25&depth=100&state=reproduced"]],
    ["turns a page", ["page=40", "page=41"]],
  ]) {
    test(`${what} within ${LIMIT} ms, or in ${ROOM} times what the browser needs for the same rows`, async (t) => {
      const taken = new Map(hashes.map((hash) => [hash, { clock: [], computed: [], plain: [] }]));
      for (let i = 0; i < TRIES; i++) {
        for (const [hash, own] of taken) {
          const start = await computed();
          own.clock.push(await answered(hash));
          own.computed.push(await computed() - start);
          own.plain.push(await plainly());
        }
      }
      for (const [hash, { clock, computed: own, plain }] of taken) {
        const told = Object.entries({ "by the clock": clock, computed: own, "as plain HTML": plain })
          .map(([name, values]) => `${name} ${values.map(Math.round).join(" ")} ms`).join(", ");
        t.diagnostic(`${hash}: ${told}`);
        // On a machine that others use as well the clock counts their work; what the page computes is its own.
        const isFast = Math.min(...clock, ...own) <= LIMIT;
        assert.ok(isFast || median(own) <= ROOM * median(plain), `${hash}: ${told}`);
      }
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
    await page.goto(address(10_000, "index.html"));
    await page.waitForFunction(() => / of 10000 systems shown/.test(document.getElementById("status").textContent));
    page.asked.length = 0;
    await page.evaluate(() => { location.hash = "tasks=nq,scifact&sort=-mean"; });
    await page.locator("th[data-key='t.scifact']").waitFor();
    assert.equal(page.asked.filter((url) => url.includes("overview.the-embedded-collection.bm25-20.tasks.js")).length, 1);
    const rows = await page.locator("#board tbody tr").evaluateAll((lines) => lines.slice(0, 20).map((line) => ({
      group: line.cells[1].innerText, mean: parseFloat(line.cells[2].innerText),
      tasks: [4, 5].map((place) => parseFloat(line.cells[place].innerText.replace("†", ""))) })));
    for (const { group, mean, tasks } of rows) {
      assert.equal(group, "–", "a group belongs to all tasks");
      assert.ok(Math.abs(mean - (tasks[0] + tasks[1]) / 2) <= 0.1001, `${mean} is not the mean of ${tasks}`);
    }
    assert.deepEqual(rows.map((row) => row.mean), rows.map((row) => row.mean).sort((a, b) => b - a));
    assert.match(await page.locator("#remark").innerText(), /2 of 20 tasks/);
    assert.deepEqual(page.troubles, []);
  });
});
