// The files are what they say: HTML and CSS by the Nu checker, the feed by an XML parser, every link leads somewhere.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { address, filesOf, folderOf, launch, newPage } from "./lib.mjs";

const SITES = ["plain", "gaps", "hostile"];
const VNU = join(createRequire(import.meta.url).resolve("vnu-jar/package.json"), "..", "build", "dist", "vnu.jar");

function complaints(options, files) {
  const run = spawnSync("java", ["-Xss4m", "-jar", VNU, "--errors-only", "--exit-zero-always", "--format", "json", ...options, ...files],
    { encoding: "utf8", maxBuffer: 2 ** 28 });
  assert.equal(run.error, undefined);
  const found = JSON.parse(run.stderr || run.stdout).messages.map((m) =>
    `${m.url.split("/site/").pop()}:${m.lastLine}: ${m.message} ${m.extract ?? ""}`.replace(/\s+/g, " ").slice(0, 300));
  // A template's fault is on every page; twenty lines are enough to mend it.
  return [...new Set(found)].slice(0, 20);
}

let browser, page;
before(async () => {
  browser = await launch();
  page = await newPage(browser);
});
after(() => browser?.close());

for (const site of SITES) {
  describe(`The ${site} site`, () => {
    test("is valid HTML, every page of it", () => {
      const files = filesOf(site).map((name) => join(folderOf(site), name));
      assert.ok(files.length > 5);
      assert.deepEqual(complaints([], files), []);
    });

    test("has a feed that is well-formed, with the parts that Atom wants", async () => {
      const feed = readFileSync(join(folderOf(site), "feed.atom"), "utf8");
      const found = await page.evaluate((text) => {
        const tree = new DOMParser().parseFromString(text, "application/xml");
        const atom = "http://www.w3.org/2005/Atom";
        const entries = [...tree.getElementsByTagNameNS(atom, "entry")];
        const lacks = (node) => ["id", "title", "updated"].filter(
          (name) => ![...node.children].some((child) => child.localName === name && child.textContent.trim()));
        return {
          broken: tree.querySelector("parsererror")?.textContent ?? "",
          lacking: [tree.documentElement, ...entries].flatMap(lacks),
          ids: entries.map((entry) => entry.getElementsByTagNameNS(atom, "id")[0]?.textContent),
        };
      }, feed);
      assert.equal(found.broken, "");
      assert.deepEqual(found.lacking, []);
      assert.ok(found.ids.length > 0);
      assert.equal(new Set(found.ids).size, found.ids.length, "two entries of the feed have one id");
    });

    test("links only to pages, files and places that are there, and every page can be reached", async () => {
      const links = new Map();
      for (const name of filesOf(site)) {
        const html = readFileSync(join(folderOf(site), name), "utf8");
        links.set(name, await page.evaluate((text) => {
          const tree = new DOMParser().parseFromString(text, "text/html");
          return {
            to: [...tree.querySelectorAll("[href], [src]")].map((node) => node.getAttribute("href") ?? node.getAttribute("src")),
            ids: [...tree.querySelectorAll("[id]")].map((node) => node.id),
          };
        }, html));
      }
      const broken = new Set(), reached = new Set(["index.html"]), queue = ["index.html"];
      const root = address(site, "");
      while (queue.length) {
        const name = queue.pop();
        for (const link of links.get(name).to) {
          const url = new URL(link, address(site, name));
          if (url.protocol !== "file:") continue;
          const target = fileURLToPath(url.href.split(/[?#]/)[0]);
          const page = url.href.startsWith(root) ? decodeURIComponent(url.href.split(/[?#]/)[0].slice(root.length)).replace(/^\//, "") : null;
          // A link out of the folder breaks as soon as somebody copies the folder.
          if (page === null || !existsSync(target)) broken.add(`${name} -> ${link}`);
          // The overview's hash holds its state and is no place on the page.
          const place = decodeURIComponent(url.hash.slice(1));
          if (links.has(page) && place && !place.includes("=") && !links.get(page).ids.includes(place)) broken.add(`${name} -> ${link}`);
          if (links.has(page) && !reached.has(page)) {
            reached.add(page);
            queue.push(page);
          }
        }
      }
      assert.deepEqual([...broken], []);
      assert.deepEqual([...links.keys()].filter((name) => !reached.has(name) && name !== "404.html"), [], "no link leads there");
    });
  });
}

test("The style sheet is valid CSS", () => {
  const files = filesOf("plain", ".css").map((name) => join(folderOf("plain"), name));
  assert.ok(files.length > 0);
  assert.deepEqual(complaints(["--css"], files), []);
});
