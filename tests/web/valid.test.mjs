// HTML and CSS are what they say, by the Nu checker.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { complaints, filesOf, folderOf } from "./lib.mjs";

for (const site of ["plain", "gaps", "hostile"]) {
  test(`Every page of the ${site} site is valid HTML`, () => {
    const files = filesOf(site).map((name) => join(folderOf(site), name));
    assert.ok(files.length > 5);
    assert.deepEqual(complaints([], files), []);
  });
}

test("The style sheet is valid CSS", () => {
  const files = filesOf("plain", ".css").map((name) => join(folderOf("plain"), name));
  assert.ok(files.length > 0);
  assert.deepEqual(complaints(["--css"], files), []);
});
