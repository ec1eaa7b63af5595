import assert from "node:assert/strict";
import { join } from "node:path";
import { runTvllm } from "./run_tvllm.ts";

const SMALL = "-p 32 -n 2 -r 1 --warmup 0 --device cpu".split(" ");

Deno.test("tvllm bench --chart writes a picture as the file's extension says, and prints the report", async () => {
  const directory = Deno.makeTempDirSync();
  for (const [name, start] of [["chart.svg", "<svg "], ["chart.PNG", "\x89PNG\r\n"]] as const) {
    const path = join(directory, name);
    const result = await runTvllm(["bench", "prefix-cache", ...SMALL, "--chart", path]);
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stdout, /^# tvllm bench prefix-cache\n/);
    const bytes = Deno.readFileSync(path).subarray(0, start.length);
    assert.equal(String.fromCharCode(...bytes), start);
  }
});

Deno.test("tvllm bench --chart refuses other extensions and missing folders before it measures", async () => {
  const jpeg = await runTvllm(["bench", "prefix-cache", "--chart", "chart.jpeg"]);
  assert.equal(jpeg.code, 2);
  assert.match(jpeg.stderr, /'chart\.jpeg'.*\.svg or \.png/);
  const path = join(Deno.makeTempDirSync(), "none", "chart.svg");
  const nowhere = await runTvllm(["bench", "prefix-cache", ...SMALL, "--chart", path]);
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.stderr, /error: Cannot write .*chart\.svg: .*\n$/);
  assert.equal(nowhere.stdout, "");
});

Deno.test("tvllm bench --html writes the report as a page, as compare --html does for two", async () => {
  const directory = Deno.makeTempDirSync();
  const [json, page, both] = ["a.json", "a.html", "b.html"].map((name) => join(directory, name));
  const files = ["--json", json!, "--html", page!];
  const run = await runTvllm(["bench", "prefix-cache", ...SMALL, ...files]);
  assert.equal(run.code, 0, run.stderr);
  const text = Deno.readTextFileSync(page!);
  assert.match(text, /^<!doctype html>/);
  assert.match(text, /<h3>Time to the first token<\/h3>\n<div class="chart bars">/);
  assert.match(text, /<th scope="row">Same prompt<\/th><td>HIT/);
  const compared = await runTvllm(["compare", json!, json!, "--html", both!]);
  assert.equal(compared.code, 0, compared.stderr);
  assert.match(Deno.readTextFileSync(both!), /<h2>prefix-cache: .*a\.json against /);
  const wrong = await runTvllm(["bench", "prefix-cache", "--html", "page.pdf"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /a name that ends in \.html/);
});
