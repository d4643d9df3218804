// The pages that compare: their statistics against exabench.comparison, their state in the address, and what they refuse.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { HERE, launch, newPage } from "./lib.mjs";

const ROOT = join(HERE, "..", "..");
const PYTHON = process.env.PYTHON ?? join(ROOT, ".venv", "bin", "python");
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const STRONG = "acme--strong.bm25-100", WEAK = "acme--weak.bm25-100", CLOSE = "acme--close.bm25-100", TWIN = "acme--twin.bm25-100";

const KNOWN = {
  t: [0.9999999936338023, 0.6170860804235135, 0.3173156560940489, 0.08912287210001868, 7.862586022709038e-05, 3.2244149483734696e-25],
  f: [0.11534585958090936, 0.9606024503281688, 7.817944131345909e-16],
  range: [0.049999387596061484, 0.04999997096367026, 0.0716225563251831],
};

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
  one.setDefaultTimeout(20_000);
  await one.goto(at(page, hash, site));
  return one;
}

// Waits until the page says that it is done: what it says ends without an ellipsis.
async function settled(page) {
  await page.waitForFunction(() => /\S/.test(document.getElementById("status").textContent) && !/\u2026$/.test(document.getElementById("status").textContent));
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
  assert.deepEqual(page.troubles, []);
  await page.context().close();
  return found;
};

// Two shares of 10,000 drawings each: five standard errors of their difference.
const lots = (p) => 5 * Math.sqrt((2 * p * (1 - p)) / 10_000) + 2e-4;
const near = (a, b, room, what) => assert.ok(Math.abs(a - b) <= room, `${what}: ${a} and ${b}`);

describe("The statistics in the browser", () => {
  let page;
  before(async () => { page = await opened("compare.html"); });
  after(() => page?.context().close());

  test("give the known values of Student's t, F and the studentised range", async () => {
    // From mpmath with 40 digits; the ranges from scipy.stats.studentized_range with infinite freedom.
    const found = await page.evaluate(() => {
      const t = window.exabench.paired;
      return { t: [[1e-8, 1], [0.5, 9999], [1, 47000.5], [1.96, 7.3], [4, 322], [20, 49]].map((one) => t.studentP(...one)),
        f: [t.fisherP(2, 4, 36), t.fisherP(0.5, 19, 200), t.fisherP(20, 4, 960)],
        range: [t.rangeP(3.3145, 3), t.rangeP(2.771808, 2), t.rangeP(5.5, 50)],
        lots: (() => { const next = t.xoshiro([1, 2, 3, 4]); return [1, 2, 3, 4].map(() => next() >>> 0); })() };
    });
    KNOWN.t.forEach((wanted, i) => near(found.t[i] / wanted, 1, 1e-10, `t ${i}`));
    KNOWN.f.forEach((wanted, i) => near(found.f[i] / wanted, 1, 1e-10, `F ${i}`));
    KNOWN.range.forEach((wanted, i) => near(found.range[i], wanted, 1e-10, `range ${i}`));
    assert.deepEqual(found.lots, [11520, 0, 5927040, 70819200]);
  });

  test("know Friedman's test by an example whose ranks are plain", async () => {
    const found = await page.evaluate(() => window.exabench.paired.friedman(
      [[3, 2, 1], [3, 2, 1], [3, 1, 2], [2, 3, 1], [3, 2, 1], [3, 2, 1]]));
    assert.deepEqual(found.means.map((rank) => Math.round(1e9 * rank) / 1e9), [7 / 6, 2, 17 / 6].map((rank) => Math.round(1e9 * rank) / 1e9));
    near(found.square, 8 + 1 / 3, 1e-12, "chi squared");
    near(found.critical, 2.343701 * Math.sqrt((3 * 4) / (6 * 6)), 1e-5, "critical difference (Demsar's table: 2.343)");
  });

  test("enumerate small samples as the randomisation test should", async () => {
    // Of the sixteen signs of 1, 2, 3, 4 those at least as far out as 1 + 2 + 3 + 4 are two, as 2 are ten of sixteen.
    const found = await page.evaluate(() => [[1, 2, 3, 4], [4, -3, 2, -1], [0, 0], [0.5]].map(window.exabench.paired.randomisation));
    near(found[0], 2 / 16, lots(2 / 16), "the extreme");
    near(found[1], 14 / 16, lots(14 / 16), "nearly the middle");
    assert.equal(found[2], 1);
    assert.equal(found[3], 1);
    assert.deepEqual(await page.evaluate(() => window.exabench.paired.randomisation([1, 2, 3, 4])), found[0], "the same each time");
  });

  test("flip 2,000 queries 10,000 times within half a second", async () => {
    const took = await page.evaluate(() => {
      const terms = Array.from({ length: 2000 }, (_, i) => Math.sin(i) / 2000), times = [];
      for (let i = 0; i < 3; i++) {
        const start = performance.now();
        window.exabench.paired.randomisation(terms);
        times.push(performance.now() - start);
      }
      return Math.min(...times);
    });
    assert.ok(took <= 500, `${took} ms`);
  });
});

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
        near(own.t_test, other.t_test, 1e-9, `${row.name}, t-test`);
        near(own.effect_size, other.effect_size, 1e-9, `${row.name}, effect size`);
        near(own.randomisation, other.randomisation, lots(other.randomisation), `${row.name}, randomisation`);
        near(row.p_holm, other.p_holm, Math.min(1, wanted.size * lots(other.randomisation)), `${row.name}, Holm`);
        assert.deepEqual([own.wins, own.ties, own.losses, own.queries], [other.wins, other.ties, other.losses, other.queries]);
      }
    });
  }

  test("in Holm's correction, digit by digit", async () => {
    const page = await opened("compare.html");
    for (const all of Object.values(expected).filter(Array.isArray)) {
      const found = await page.evaluate((p) => window.exabench.paired.holm(p), all.map((one) => one.randomisation));
      found.forEach((p, i) => near(p, all[i].p_holm, 1e-12, all[i].task));
    }
    await page.context().close();
  });

  test("in the mean over tasks, CQADupStack being one", async () => {
    const { means: [found] } = await compared(STRONG, WEAK);
    assert.equal(found.tasks, 6);
    near(found.test.difference, expected.mean.difference, 1e-12, "difference");
    near(found.test.t_test, expected.mean.t_test, 1e-9, "t-test");
    near(found.test.effect_size, expected.mean.effect_size, 1e-9, "effect size");
    near(found.test.randomisation, expected.mean.randomisation, lots(expected.mean.randomisation), "randomisation");
  });
});

describe("What cannot be compared gets a reason and no number", () => {
  test("other candidates, conventions, judgements and queries", async () => {
    const { rows, refused } = await compared(STRONG, "acme--odd.bm25-100");
    const why = new Map(refused);
    assert.match(why.get("trec-dl-2019"), /candidates/);
    assert.match(why.get("nfcorpus"), /convention/);
    assert.match(why.get("scifact"), /judgements/);
    assert.match(why.get("fiqa"), /queries/);
    assert.ok(rows.length > 0 && rows.every((row) => !why.has(row.task)));
  });

  test("missing queries, and a task that only one has", async () => {
    const { rows, refused } = await compared(STRONG, "acme--gaps.bm25-100");
    const why = new Map(refused);
    assert.equal(rows.length, 0);
    assert.match(why.get("scifact"), /B lacks 3 of 300 queries/);
    assert.match(why.get("fiqa"), /B has no result/);
  });

  test("two lines over different candidate lists", async () => {
    const { rows, refused } = await compared(STRONG, "acme--close.splade-100");
    assert.equal(rows.length, 0);
    assert.ok(refused.every(([, why]) => /A reranked bm25-100, B splade-100/.test(why)));
  });

  test("a line that is not there, and a line against itself", async () => {
    const page = await opened("compare.html", query({ a: STRONG, b: "nobody.bm25-100" }));
    assert.match(await settled(page), /Not on this board: nobody\.bm25-100/);
    await page.goto(at("compare.html", query({ a: STRONG, b: STRONG })));
    await page.waitForFunction(() => /same line/.test(document.getElementById("status").textContent));
    assert.deepEqual(page.troubles, []);
    await page.context().close();
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
    const again = await opened("compare.html", new URL(page.url()).hash);
    assert.equal(await settled(again), said);
    assert.equal(await again.locator("#compared").innerText(), await page.locator("#compared").innerText());
    await page.getByRole("button", { name: /swap/i }).click();
    await page.waitForFunction(() => document.getElementById("a").value.includes("weak"));
    await page.goBack();
    await page.waitForFunction(() => document.getElementById("a").value.includes("strong"));
    await again.context().close();
    await page.context().close();
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
    await page.context().close();
  });

  test("finds one line among 10,000, of which at most fifty are listed", async () => {
    cpSync(join(folder, "many"), join(folder, "large"), { recursive: true });
    const file = join(folder, "large", "site", "data", "lines.js");
    const data = JSON.parse(readFileSync(file, "utf8").slice("exabench.lines(".length, -3));
    for (let i = 0; i < 10_000; i++) {
      data.lines.push([data.submissions.push([`many--line${i}`, `many/line${i}`]) - 1, 0, 0]);
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
    await page.context().close();
  });
});

describe("The significance page", () => {
  test("shows every pair as the compare page has it, with Holm over the pairs, and both triangles mirror each other", async () => {
    const page = await opened("significance.html", query({ of: "task.nfcorpus", lines: [STRONG, WEAK, CLOSE, TWIN].join() }));
    assert.match(await settled(page), /^4 of \d+ lines: \d+ of 6 pairs/);
    const pairs = await page.evaluate(() => window.exabench.matrix.map((pair) => ({ a: pair.a.key, b: pair.b.key, p: pair.p, test: pair.test })));
    const one = pairs.find((pair) => [pair.a, pair.b].includes(STRONG) && [pair.a, pair.b].includes(WEAK));
    const cli = expected["acme/strong acme/weak"].find((row) => row.task === "nfcorpus (bm25-100)");
    near(Math.abs(one.test.difference), Math.abs(cli.difference), 1e-12, "difference");
    near(one.test.t_test, cli.t_test, 1e-9, "t-test");
    const holm = await page.evaluate((p) => window.exabench.paired.holm(p), pairs.map((pair) => pair.test.t_test));
    pairs.forEach((pair, i) => near(pair.p, holm[i], 1e-15, "Holm"));
    const cells = await page.locator("table.matrix tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].slice(1, 5).map((cell) => cell.innerText)));
    for (let i = 0; i < 4; i++) for (let j = 0; j < i; j++) {
      const turned = cells[j][i].replace(/[+\u2212\u25B2\u25BC]/g, (sign) => ({ "+": "\u2212", "\u2212": "+", "\u25B2": "\u25BC", "\u25BC": "\u25B2" })[sign]);
      assert.equal(cells[i][j], turned);
      assert.match(cells[i][j], /[\u25B2\u25BC\u25CB][^]*p /);
    }
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });

  test("shows the groups of the build as they are", async () => {
    const page = await opened("significance.html");
    await settled(page);
    const built = await page.getByRole("region", { name: /^All tasks\b.*Means/ }).locator("tbody tr").evaluateAll(
      (rows) => rows.map((row) => [`${row.cells[1].innerText.trim()} over ${row.cells[2].innerText}`, row.cells[0].innerText]));
    const shown = await page.getByRole("region", { name: /lines of the figure/ }).locator("tbody tr").evaluateAll(
      (rows) => rows.map((row) => [row.cells[0].innerText.replace(" (first stage)", ""), row.cells[1].innerText]));
    assert.ok(shown.length > 5);
    assert.deepEqual(shown, built.filter(([, group]) => group !== "\u2013"));
    await page.context().close();
  });

  test("names the lines that it was asked for and does not have", async () => {
    const page = await opened("significance.html", query({ of: "task.fiqa", lines: [STRONG, WEAK, "nobody.bm25-100"].join() }));
    assert.match(await settled(page), /^2 of .*Not in this ranking.*: nobody\.bm25-100\./);
    await page.context().close();
  });

  test("ranks lines over five tasks or more, not over one", async () => {
    const lines = [STRONG, CLOSE, TWIN, WEAK, "acme--none.bm25-100"].join();
    const page = await opened("significance.html", query({ of: "view.all-tasks", lines }));
    await settled(page);
    await page.getByRole("heading", { name: /mean ranks/i }).waitFor();
    const ranks = await page.evaluate(() => window.exabench.ranks);
    assert.equal(ranks.tasks, 6);
    near(ranks.means.reduce((sum, rank) => sum + rank, 0), 15, 1e-9, "the ranks of five lines add up to");
    near(ranks.critical, 2.7278 * Math.sqrt(30 / 36), 1e-3, "critical difference (Demsar's table: 2.728)");
    await page.locator("#of").selectOption("task.fiqa");
    await page.waitForFunction(() => location.hash.includes("fiqa"));
    await settled(page);
    assert.equal(await page.getByRole("heading", { name: /mean ranks/i }).count(), 0);
    await page.context().close();
  });

  test("leaves out and adds lines, tests by flips, and keeps all of it in the address", async () => {
    const page = await opened("significance.html");
    const all = Number((await settled(page)).match(/^\d+/)[0]);
    await page.getByRole("button", { name: /Leave out acme\/none/ }).click();
    await page.waitForFunction((n) => document.getElementById("status").textContent.startsWith(`${n} `), all - 1);
    await page.locator("#test").selectOption("flips");
    await page.waitForFunction(() => /randomisation, Holm/.test(document.getElementById("status").textContent));
    const said = await settled(page), again = await opened("significance.html", new URL(page.url()).hash);
    assert.equal(await settled(again), said);
    await again.getByRole("combobox", { name: "Add a line" }).fill("none");
    await again.keyboard.press("Enter");
    await again.waitForFunction((n) => document.getElementById("status").textContent.startsWith(`${n} `), all);
    await again.context().close();
    await page.context().close();
  });
});

describe("Without much to show", () => {
  for (const [site, say] of [["one", /fewer than two|One line alone/], ["none", /No results yet/]]) {
    for (const name of ["compare.html", "significance.html"]) {
      test(`${name} of a board with ${site} line${site === "none" ? "s" : ""} says so`, async () => {
        const page = await opened(name, "", {}, site);
        await page.waitForTimeout(200);
        assert.match(await page.locator("main").innerText(), say);
        assert.deepEqual(page.troubles, []);
        await page.context().close();
      });
    }
  }

  test("scripts, both pages say what they do, and the groups can be read", async () => {
    const page = await opened("compare.html", "", { javaScriptEnabled: false });
    assert.match(await page.locator("main").innerText(), /exabench bench compare/);
    assert.equal(await page.locator("input:visible, select:visible, button:visible").count(), 0);
    await page.goto(at("significance.html"));
    assert.ok(await page.locator("table tbody tr:visible").count() >= 9);
    assert.equal(await page.locator("input:visible, select:visible, button:visible").count(), 0);
    await page.context().close();
  });
});

describe("Everybody can use both pages", () => {
  const states = [["compare.html", query({ a: STRONG, b: "acme--odd.bm25-100", task: "scidocs" })], ["compare.html", ""],
    ["significance.html", query({ of: "view.all-tasks", lines: [STRONG, CLOSE, WEAK].join() })]];
  for (const colorScheme of ["light", "dark"]) {
    for (const [name, hash] of states) {
      test(`axe-core finds nothing to mend on ${name}${hash && " with an answer"} (${colorScheme}), open lists included`, async () => {
        const page = await opened(name, hash, { colorScheme, bypassCSP: true });
        await settled(page);
        await page.getByRole("combobox").last().click();
        await page.evaluate(AXE);
        const found = await page.evaluate(
          (values) => window.axe.run(document, { runOnly: { type: "tag", values }, resultTypes: ["violations"] }), RULES);
        assert.deepEqual(found.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) => `${rule.id}: ${node.html.slice(0, 200)}`)), []);
        await page.context().close();
      });
    }
  }

  for (const [name, hash] of states) {
    test(`${name}${hash && " with an answer"} does not scroll sideways at 360 pixels, and asks for nothing outside the site`, async () => {
      const page = await opened(name, hash, { viewport: { width: 360, height: 740 } });
      await settled(page);
      await page.getByRole("combobox").last().click();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 360);
      assert.deepEqual(page.asked.filter((url) => !url.startsWith(at("", "")) && !url.startsWith("data:")), []);
      assert.deepEqual(page.troubles, []);
      await page.context().close();
    });
  }

  test("what a script made is valid HTML", async () => {
    const page = await opened("compare.html", query({ a: STRONG, b: "acme--odd.bm25-100" }));
    await settled(page);
    await page.getByRole("region", { name: /largest wins of B/ }).waitFor();
    const vnu = join(createRequire(import.meta.url).resolve("vnu-jar/package.json"), "..", "build", "dist", "vnu.jar");
    const files = [];
    for (const [name, hash] of states) {
      await page.goto(at(name, hash));
      await settled(page);
      files.push(join(folder, `made-${files.length}.html`));
      writeFileSync(files.at(-1), `<!doctype html>\n${await page.evaluate(() => document.documentElement.outerHTML)}`);
    }
    const run = spawnSync("java", ["-Xss4m", "-jar", vnu, "--errors-only", "--exit-zero-always", "--format", "json", ...files], { encoding: "utf8", maxBuffer: 2 ** 28 });
    assert.deepEqual(JSON.parse(run.stderr || run.stdout).messages.map((one) => `${one.message} ${one.extract ?? ""}`.slice(0, 300)), []);
    await page.context().close();
  });
});

