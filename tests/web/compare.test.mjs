// The pages that compare: their statistics against exabench.comparison, their state in the address, and what they refuse.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { complaints, faultsFor, HERE, launch, newPage } from "./lib.mjs";

const ROOT = join(HERE, "..", "..");
const PYTHON = process.env.PYTHON ?? join(ROOT, ".venv", "bin", "python");
const STRONG = "acme--strong.bm25-100", WEAK = "acme--weak.bm25-100", CLOSE = "acme--close.bm25-100", TWIN = "acme--twin.bm25-100";

// From mpmath with 40 digits.
const KNOWN = [0.9999999936338023, 0.6170860804235135, 0.3173156560940489, 0.08912287210001868, 7.862586022709038e-05, 3.2244149483734696e-25];

let folder, browser, expected;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "compare-"));
  const run = spawnSync(PYTHON, [join(ROOT, "tests", "compared.py"), folder], { encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const at = (page, hash = "", site = "many") => pathToFileURL(join(folder, site, "site", page)).href + hash;
const query = (given) => `#${new URLSearchParams(given)}`;

async function opened(page, hash = "", options = {}, site = "many") {
  const one = await newPage(browser, options);
  one.setDefaultTimeout(60_000);
  await one.goto(at(page, hash, site));
  return one;
}

async function closed(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  }
}

// Waits until the page says that it is done: what it says ends without an ellipsis.
// The page has said its result, and no part of it is still loading.
async function settled(page) {
  await page.waitForFunction(() => {
    const said = document.getElementById("status").textContent.trim();
    return said && !said.endsWith("\u2026") && !document.querySelector("[aria-busy=true]");
  });
  return page.locator("#status").innerText();
}

const compared = async (a, b) => {
  const page = await opened("compare.html", query({ a, b }));
  await settled(page);
  const found = await page.evaluate(() => ({
    rows: window.exabench.compared.rows.map((row) => ({ ...row, a: null, b: null, name: `${row.task} (${row.candidates})` })),
    means: window.exabench.compared.means,
    refused: window.exabench.compared.refused.map((one) => [one.task, one.why]),
  }));
  await closed(page);
  return found;
};

const near = (a, b, room, what) => assert.ok(Math.abs(a - b) <= room, `${what}: ${a} and ${b}`);

describe("The compare page agrees with exabench bench compare", () => {
  for (const pair of ["acme/strong acme/close", "acme/strong acme/weak", "acme/close acme/twin"]) {
    test(pair, async () => {
      const [a, b] = pair.split(" ").map((name) => name.replace("/", "--"));
      const both = ["acme--strong", "acme--close"];
      const every = both.includes(a) && both.includes(b); // these two have two lists each
      const found = await compared(every ? a : `${a}.bm25-100`, every ? b : `${b}.bm25-100`);
      const wanted = new Map(expected[pair].map((one) => [one.task, one]));
      assert.deepEqual(found.rows.map((row) => row.name).sort(), [...wanted.keys()].sort());
      for (const row of found.rows) {
        const own = row.test, other = wanted.get(row.name);
        near(own.difference, other.difference, 1e-12, `${row.name}, difference`);
        near(own.p, other.p, 1e-9, `${row.name}, p`);
        own.interval.forEach((bound, i) => near(bound, other.interval[i], 1e-9, `${row.name}, interval`));
        near(own.effect_size, other.effect_size, 1e-9, `${row.name}, effect size`);
        assert.equal(row.differ, other.p_holm < 0.05, `${row.name}: p ${own.p}, limit ${row.limit}, Holm ${other.p_holm}`);
        assert.deepEqual([own.wins, own.ties, own.losses, own.queries], [other.wins, other.ties, other.losses, other.queries]);
      }
    });
  }

  test("in Student's t, digit by digit", async () => {
    const page = await opened("compare.html");
    const given = [[1e-8, 1], [0.5, 9999], [1, 47000.5], [1.96, 7.3], [4, 322], [20, 49]];
    const found = await page.evaluate((all) => all.map((one) => window.exabench.paired.studentP(...one)), given);
    KNOWN.forEach((wanted, i) => near(found[i] / wanted, 1, 1e-10, `t ${i}`));
    await closed(page);
  });

  test("in the mean over tasks, CQADupStack being one", async () => {
    const { means: [found] } = await compared(STRONG, WEAK);
    assert.equal(found.tasks, 6);
    near(found.test.difference, expected.mean.difference, 1e-12, "difference");
    near(found.test.p, expected.mean.p, 1e-9, "p");
    near(found.test.effect_size, expected.mean.effect_size, 1e-9, "effect size");
  });
});

describe("What cannot be compared gets a reason and no number", () => {
  for (const [what, other, reasons, rest] of [
    ["other candidates, conventions, judgements and queries", "acme--odd.bm25-100",
      { "trec-dl-2019": /candidates/, nfcorpus: /convention/, scifact: /judgements/, fiqa: /queries/ }, true],
    ["missing queries, and a task that only one has", "acme--gaps.bm25-100",
      { scifact: /B lacks 3 of 300 queries/, fiqa: /B has no result/ }, false],
    ["two systems over different candidate lists", "acme--close.splade-100", { fiqa: /A reranked bm25-100, B splade-100/ }, false],
  ]) {
    test(what, async () => {
      const { rows, refused } = await compared(STRONG, other);
      const why = new Map(refused);
      for (const [task, reason] of Object.entries(reasons)) assert.match(why.get(task), reason);
      assert.equal(rows.length > 0, rest);
      assert.ok(rows.every((row) => !why.has(row.task)));
    });
  }

  test("a system that is not there, and a system against itself", async () => {
    const page = await opened("compare.html", query({ a: STRONG, b: "nobody.bm25-100" }));
    assert.match(await settled(page), /Not on this board: nobody\.bm25-100/);
    await page.goto(at("compare.html", query({ a: STRONG, b: STRONG })));
    await page.waitForFunction(() => /same system/.test(document.getElementById("status").textContent));
    await closed(page);
  });
});

describe("A reader of the compare page", () => {
  test("chooses by the keyboard alone; the address then gives the same page, and the back button the one before", async () => {
    const page = await opened("compare.html");
    for (const [name, words] of [["A:", "strong bm25"], ["B:", "weak"]]) {
      const field = page.getByRole("combobox", { name });
      await field.focus();
      await page.keyboard.type(words);
      assert.equal(await field.getAttribute("aria-expanded"), "true");
      await page.keyboard.press("ArrowDown");
      const active = await field.getAttribute("aria-activedescendant");
      assert.equal(await page.locator(`#${active}`).getAttribute("aria-selected"), "true");
      await page.keyboard.press("Enter");
      await page.waitForFunction((text) => location.hash.includes(text), words.split(" ")[0]);
      assert.equal(await field.getAttribute("aria-expanded"), "false");
    }
    const said = await settled(page);
    assert.match(said, /Compared on 17 tasks/);
    assert.match(await page.locator("#apart").innerText(), /they differ most on query \S+.*: A [\d.]+, B [\d.]+\./);
    const again = await opened("compare.html", new URL(page.url()).hash);
    assert.equal(await settled(again), said);
    assert.equal(await again.locator("#compared").innerText(), await page.locator("#compared").innerText());
    await page.getByRole("button", { name: /swap/i }).click();
    await page.waitForFunction(() => document.getElementById("a").value.includes("weak"));
    await page.goBack();
    await page.waitForFunction(() => document.getElementById("a").value.includes("strong"));
    await closed(again, page);
  });

  test("sees a task's queries by its name, with links to the rankings of both", async () => {
    const page = await opened("compare.html", query({ a: STRONG, b: WEAK }));
    await settled(page);
    await page.getByRole("link", { name: "fiqa", exact: true }).click();
    await page.getByRole("heading", { name: /fiqa over bm25-100, query by query/ }).waitFor();
    const row = page.getByRole("region", { name: /largest wins of A/ }).locator("tbody tr").first();
    await row.waitFor();
    const id = (await row.locator("th").innerText()).trim();
    const links = await row.getByRole("link").evaluateAll((nodes) => nodes.map((node) => node.getAttribute("href")));
    assert.deepEqual(links, ["strong", "weak"].map((name) => `results/acme--${name}/fiqa.bm25-100.html#query=${id}`));
    assert.match(decodeURIComponent(page.url()), /task=fiqa\.bm25-100/);
    await closed(page);
  });

  test("finds one line among 10,000, of which at most fifty are listed", async () => {
    cpSync(join(folder, "many"), join(folder, "large"), { recursive: true });
    const file = join(folder, "large", "site", "data", "lines.js");
    const data = JSON.parse(readFileSync(file, "utf8").slice("exabench.lines(".length, -3));
    for (let i = 0; i < 10_000; i++) {
      data.lines.push([`many--line${i}`, `many/line${i}`, "bm25-100", 0]);
    }
    writeFileSync(file, `exabench.lines(${JSON.stringify(data)});\n`);
    const page = await opened("compare.html", "", {}, "large");
    const field = page.getByRole("combobox", { name: "A:" });
    const start = performance.now();
    await field.click();
    await page.getByRole("option").first().waitFor();
    const took = performance.now() - start;
    assert.equal(await page.getByRole("option").count(), 51);
    assert.match(await page.getByRole("option").last().innerText(), /more/);
    await field.fill("line7777");
    assert.deepEqual((await page.getByRole("option").allInnerTexts()).map((text) => text.trim()), ["many/line7777 over bm25-100"]);
    assert.ok(took < 2000, `${took} ms`);
    await closed(page);
  });
});

describe("The significance page", () => {
  test("shows every pair with the verdict of exabench bench compare, and both triangles mirror each other", async () => {
    const page = await opened("significance.html", query({ of: "task.nfcorpus.bm25-100", lines: [STRONG, WEAK, CLOSE, TWIN].join() }));
    assert.match(await settled(page), /^4 of \d+ systems: \d+ of 6 pairs/);
    const pairs = await page.evaluate(() => window.exabench.matrix.map(({ a, b, test, differ }) => ({ a: a.key, b: b.key, test, differ })));
    for (const [of, other] of [["strong", "weak"], ["strong", "close"], ["close", "twin"]]) {
      const keys = [`acme--${of}.bm25-100`, `acme--${other}.bm25-100`];
      const one = pairs.find((pair) => keys.includes(pair.a) && keys.includes(pair.b));
      const cli = expected[`acme/${of} acme/${other}`].find((row) => row.task === "nfcorpus (bm25-100)");
      near(Math.abs(one.test.difference), Math.abs(cli.difference), 1e-12, "difference");
      near(one.test.p, cli.p, 1e-9, "p");
      assert.equal(one.differ, cli.p_holm < 0.05);
    }
    const cells = await page.locator("table.matrix tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].slice(2, 6).map((cell) => cell.innerText)));
    for (let i = 0; i < 4; i++) for (let j = 0; j < i; j++) {
      const turned = cells[j][i].replace(/[+\u2212\u25B2\u25BC]/g, (sign) => ({ "+": "\u2212", "\u2212": "+", "\u25B2": "\u25BC", "\u25BC": "\u25B2" })[sign]);
      assert.equal(cells[i][j], turned);
      assert.match(cells[i][j], /[\u25B2\u25BC\u25CB][^]*p /);
    }
    await closed(page);
  });

  test("agrees with the groups: no member differs from the first of its group, and the next group's first does", async () => {
    const page = await opened("significance.html");
    await settled(page);
    const keys = await page.evaluate(() => window.exabench.board().contests.map(({ key }) => key));
    let groups = 0;
    for (const key of keys) {
      await page.goto("about:blank"); // a page that only changes its hash still says the result before
      await page.goto(`${at("significance.html")}${query({ of: key })}`);
      await settled(page);
      const pairs = await page.evaluate(() => (window.exabench.matrix || []).map(({ i, j, a, b, differ }) => ({ i, j, a: a.group, b: b.group, differ })));
      let leader = 0;
      for (const { i, j, a, b, differ } of pairs) {
        if (i !== leader || differ === undefined) continue; // undefined: measured on something else, so not tested
        assert.equal(differ, a !== b, `${key}: ${i} and ${j}`);
        if (differ) { leader = j; groups += 1; }
      }
    }
    assert.ok(groups > 3);
    await closed(page);
  });

  test("names the systems that it was asked for and does not have", async () => {
    const page = await opened("significance.html", query({ of: "task.fiqa.bm25-100", lines: [STRONG, WEAK, "nobody.bm25-100"].join() }));
    assert.match(await settled(page), /^2 of .*Not in this contest.*: nobody\.bm25-100\./);
    await closed(page);
  });

  test("leaves out and adds systems, and keeps all of it in the address", async () => {
    const page = await opened("significance.html");
    const all = Number((await settled(page)).match(/^\d+/)[0]);
    await page.getByRole("button", { name: /Leave out acme\/none/ }).click();
    await page.waitForFunction((n) => document.getElementById("status").textContent.startsWith(`${n} `), all - 1);
    const said = await settled(page), again = await opened("significance.html", new URL(page.url()).hash);
    assert.equal(await settled(again), said);
    await again.getByRole("combobox", { name: "Add a system" }).fill("none");
    await again.keyboard.press("Enter");
    await again.waitForFunction((n) => document.getElementById("status").textContent.startsWith(`${n} `), all);
    await closed(again, page);
  });
});

describe("Without much to show", () => {
  test("both pages of a board with one line, or with none, say so", async () => {
    for (const [site, say] of [["one", /fewer than two|Only one system/], ["none", /No results yet/]]) {
      for (const name of ["compare.html", "significance.html"]) {
        const page = await opened(name, "", {}, site);
        await page.getByText(say).first().waitFor();
        await closed(page);
      }
    }
  });

  test("scripts, both pages say what they do, and the groups can be read", async () => {
    const page = await opened("compare.html", "", { javaScriptEnabled: false });
    assert.match(await page.locator("main").innerText(), /exabench bench compare/);
    assert.equal(await page.locator("input:visible, select:visible, button:visible").count(), 0);
    await page.goto(at("significance.html"));
    assert.ok(await page.locator("table tbody tr:visible").count() >= 9);
    assert.equal(await page.locator("input:visible, select:visible, button:visible").count(), 0);
    await closed(page);
  });
});

describe("Everybody can use both pages, what scripts made included", () => {
  const made = [];
  for (const [name, hash] of [
    ["compare.html", query({ a: STRONG, b: "acme--odd.bm25-100", task: "scidocs" })], ["compare.html", ""],
    ["significance.html", query({ of: "view.all-tasks.bm25-100", lines: [STRONG, CLOSE, WEAK].join() })],
  ]) {
    test(`${name}${hash && " with an answer"}: axe-core, 360 pixels, nothing from outside`, async () => {
      const page = await opened(name, hash, { bypassCSP: true });
      await settled(page);
      made.push(join(folder, `made-${made.length}.html`));
      writeFileSync(made.at(-1), `<!doctype html>\n${await page.evaluate(() => document.documentElement.outerHTML)}`);
      assert.deepEqual(page.asked.filter((url) => !url.startsWith(at("", "")) && !url.startsWith("data:")), []);
      assert.deepEqual(page.troubles, []); // axe-core, which reads style sheets again, would add its own
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.getByRole("combobox").last().click(); // an open list
        assert.deepEqual(await faultsFor(page), []);
      }
      await page.setViewportSize({ width: 360, height: 740 });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 360);
      await page.context().close();
    });
  }

  test("all of it is valid HTML", () => {
    assert.equal(made.length, 3);
    assert.deepEqual(complaints([], made), []);
  });
});
