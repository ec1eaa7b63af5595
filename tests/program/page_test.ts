/** The pages of bench and compare in a real browser: light, dark, phone, desktop and keyboard. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { compare } from "../../bench/report/comparison/comparison.ts";
import { comparisonsPage, reportsPage } from "../../bench/report/html/mod.ts";
import type { Report } from "../../bench/report/report.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { BrowserPage, temporaryFile } from "./browser.ts";
import { lacks } from "./run_tvllm.ts";

function golden(suite: string): Report {
  const path = new URL(`../../fixtures/goldens/bench/${suite}.json`, import.meta.url);
  return JSON.parse(Deno.readTextFileSync(fileURLToPath(path)));
}

/** The same run, a fifth slower. */
function slower(report: Report): Report {
  const copy = structuredClone(report);
  for (const result of copy.results) {
    const by = { "ms": 1.2, "tok/s": 1 / 1.2 }[result.unit as string] ?? 1;
    result.value *= by;
    result.samples = result.samples?.map((sample) => sample * by);
  }
  return copy;
}

const [latency, modes] = [golden("latency"), golden("modes")];
const REPORTS = reportsPage(SUITES.map(({ name }) => golden(name)));
const COMPARISON = comparisonsPage([
  compare({ name: "a.json", reports: [latency, modes] }, {
    name: "b.json",
    reports: [slower(latency), slower(modes)],
  }),
]);

/** Expression for the pairs of texts in a chart that overlap. */
const OVERLAPS = `[...document.querySelectorAll(".chart svg")].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).flatMap(([b, q]) =>
    Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 &&
    Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 3
      ? [svg.getAttribute("aria-label") + ": " + a + " | " + b] : []));
})`;

/** Expression for the texts of charts that extend beyond the chart. */
const CUT = `[...document.querySelectorAll(".chart svg")].flatMap((svg) => {
  const own = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < own.left - 1 || box.right > own.right + 1;
  }).map((text) => svg.getAttribute("aria-label") + ": " + text.textContent);
})`;

/** Elements of a page that contain text to read. */
const READ = "p,th,td,a,h1,h2,h3,summary,svg > text, svg g text, li";

for (
  const [name, html] of [["reports of all suites", REPORTS], ["a comparison", COMPARISON]] as const
) {
  Deno.test({
    name: `the page of ${name} in a browser`,
    ignore: lacks("the report in a browser", "chromium"),
    fn: async (t) => {
      await using page = await BrowserPage.open(temporaryFile("page.html", html));
      await t.step("sends no requests, and reports no errors", () => {
        assert.deepEqual(page.complaints, []);
      });
      for (const width of [360, 1280]) {
        for (const dark of [false, true]) {
          await t.step(`${width} pixels wide, ${dark ? "dark" : "light"}`, async () => {
            await page.show(width, { dark });
            const wide = await page.evaluate<number>("document.documentElement.scrollWidth");
            assert.ok(wide <= width, `${wide} pixels`);
            assert.deepEqual(await page.evaluate(OVERLAPS), []);
            assert.deepEqual(await page.evaluate(CUT), []);
            assert.deepEqual(await page.faintTexts(READ), []);
            const letters = await page.evaluate<number>(
              `Math.min(...[...document.querySelectorAll(".chart svg")].map((svg) =>
                11 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))`,
            );
            assert.ok(letters >= 8, `letters of ${letters} pixels`);
          });
        }
      }
      await t.step("numbers are shown by keyboard and by pointer", async () => {
        await page.show(1280);
        const told = "getComputedStyle(document.activeElement, '::after').content";
        let presses = 0;
        do await page.press("Tab", 9); while (
          !await page.evaluate("document.activeElement.matches('.spot')") && ++presses < 100
        );
        const label = await page.evaluate<string>(
          "document.activeElement.getAttribute('aria-label')",
        );
        assert.match(label, /: [\d.,]+/);
        assert.equal(JSON.parse(await page.evaluate(told)), label);
        const place = await page.evaluate<{ x: number; y: number }>(
          `(() => {
            const spot = [...document.querySelectorAll(".spot")].at(-1);
            spot.scrollIntoView({ block: "center" });
            const { x, y, width, height } = spot.getBoundingClientRect();
            return { x: x + width / 2, y: y + height / 2 };
          })()`,
        );
        await page.call("Input.dispatchMouseEvent", { type: "mouseMoved", ...place });
        const pointed = await page.evaluate<string>(
          `getComputedStyle(document.querySelector(".spot:hover"), "::after").content`,
        );
        assert.match(JSON.parse(pointed), /: [\d.,]+/);
      });
      await t.step("every number of a chart is in a table, too", async () => {
        const counts = await page.evaluate<[number, number][]>(
          `[...document.querySelectorAll("figure")].map((figure) =>
            [figure.querySelectorAll(".spot").length, figure.querySelectorAll("tbody tr").length])`,
        );
        assert.ok(counts.length > 1);
        for (const [spots, rows] of counts) assert.equal(spots, rows);
      });
    },
  });
}
