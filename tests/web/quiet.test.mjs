// Opening any page asks for nothing outside the site and makes the browser complain of nothing, its policy included.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { address, launch, newPage, pageTypes, serve } from "./lib.mjs";

const PAGES = [...pageTypes("plain").map((name) => ["plain", name]), ["gaps", "index.html"]];

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

async function opened(name, url, own) {
  const page = await newPage(browser);
  try {
    await page.goto(url, { waitUntil: "load" });
    await page.waitForTimeout(100); // a script may ask for more once it has started
    assert.deepEqual(page.troubles, []);
    assert.deepEqual(page.asked.filter((asked) => !asked.startsWith(own) && !asked.startsWith("data:")), [], `${name} asks elsewhere`);
    return await page.evaluate(() => document.querySelector("meta[http-equiv='Content-Security-Policy' i]")?.content ?? "");
  } finally {
    await page.context().close();
  }
}

describe("From a folder, without a server, a page loads in silence and under a strict policy", () => {
  for (const [site, name] of PAGES) {
    test(`${name} of ${site}`, async () => {
      const policy = await opened(name, address(site, name), address(site, ""));
      assert.match(policy, /default-src 'none'/);
      assert.doesNotMatch(policy, /unsafe-|https?:|\*/);
    });
  }
});

describe("Over http a page loads in silence", () => {
  let server;
  before(async () => { server = await serve("plain"); });
  after(() => server?.close());
  for (const name of pageTypes("plain")) {
    test(name, async () => {
      await opened(name, `${server.origin}/${name}`, server.origin);
      assert.deepEqual(server.missing.splice(0), []);
    });
  }
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
