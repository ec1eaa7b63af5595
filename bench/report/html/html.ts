/** Pieces of a page: tables, charts and the frame around them. Each returns HTML. */

import { darkRules, drawChart } from "../charts/mod.ts";
import { type Drawing, escape } from "../charts/canvas.ts";
import type { Chart } from "../charts/chart.ts";
import style from "./style.css" with { type: "text" };

export { escape };

/** Pixels that a phone shows without scaling. */
const CHART_WIDTH = 420;

/** A page with these parts. It needs no other file and runs no script. */
export function page(title: string, parts: readonly string[]): string {
  const dark = `@media (prefers-color-scheme: dark){.chart svg{${"background:none"}}${
    darkRules().replaceAll("[fill=", ".chart [fill=").replaceAll("[stroke=", ".chart [stroke=")
  }}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escape(title)}</title>
<style>
${style}${dark}
</style>
</head>
<body>
${parts.join("\n")}
</body>
</html>
`;
}

/** A part of the page that links can lead to. */
export function section(id: string, title: string, parts: readonly string[]): string {
  return `<section id="${id}">\n<h2>${escape(title)}</h2>\n${parts.join("\n")}\n</section>`;
}

/** Links to sections. */
export function links(all: readonly { readonly id: string; readonly title: string }[]): string {
  if (all.length < 2) return "";
  const items = all.map(({ id, title }) => `<li><a href="#${id}">${escape(title)}</a></li>`);
  return `<nav aria-label="Reports"><ul>${items.join("")}</ul></nav>`;
}

export interface TableParts {
  /** Name of the table for screen readers. */
  readonly label: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Classes of a row's last cell. */
  readonly classOf?: (row: readonly string[]) => string;
}

/** A table that scrolls by itself if it is wider than the page. */
export function table({ label, columns, rows, classOf }: TableParts): string {
  const head = columns.map((column) => `<th scope="col">${escape(column)}</th>`).join("");
  const body = rows.map((row) => {
    const kind = classOf?.(row);
    const cells = row.map((cell, i) => {
      if (i === 0) return `<th scope="row">${escape(cell)}</th>`;
      const last = kind && i === row.length - 1 ? ` class="${kind}"` : "";
      return `<td${last}>${escape(cell)}</td>`;
    });
    return `<tr>${cells.join("")}</tr>`;
  });
  return `<div class="scroll" role="region" tabindex="0" aria-label="${escape(label)}"><table>` +
    `<thead><tr>${head}</tr></thead>\n<tbody>${body.join("\n")}</tbody></table></div>`;
}

/** A sentence; what is between two asterisks is bold, as in markdown. */
export function note(text: string): string {
  return `<p class="quiet">${escape(text).replaceAll(/\*\*(.+?)\*\*/g, "<strong>$1</strong>")}</p>`;
}

/** Content that is hidden until the reader opens it. */
export function details(summary: string, content: string): string {
  return `<details><summary>${escape(summary)}</summary>\n${content}\n</details>`;
}

/**
 * Charts side by side. Each number is shown on hover, touch or keyboard focus, and in a table
 * below.
 */
export function figures(charts: readonly Chart[]): string {
  if (charts.length === 0) return "";
  return `<div class="charts">\n${charts.map(figure).join("\n")}\n</div>`;
}

function figure(chart: Chart): string {
  const drawing = drawChart(chart, { width: CHART_WIDTH, titled: false });
  const { svg, width, height, spots } = drawing;
  const picture = svg.replace(
    /<svg [^>]*>/,
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
      `role="img" aria-label="${escape(chart.title)}">`,
  );
  const numbers = table({
    label: `Numbers of ${chart.title}`,
    columns: ["", "Value"],
    rows: spots.map(({ text }) => splitAt(text, ": ")),
  });
  return `<figure>\n<h3>${
    escape(chart.title)
  }</h3>\n<div class="chart ${chart.kind}">\n${picture}\n${
    buttons(drawing, chart.kind === "bars")
  }</div>\n${details("Numbers", numbers)}\n</figure>`;
}

function buttons({ width, height, spots }: Drawing, wholeRows: boolean): string {
  const percent = (part: number, whole: number) => `${(100 * part / whole).toFixed(2)}%`;
  return spots.map(({ x, y, text }) => {
    const left = wholeRows ? "" : `left:${percent(x, width)};`;
    const side = !wholeRows && x > width / 2 ? " right" : "";
    return `<button type="button" class="spot${side}" style="${left}top:${percent(y, height)}" ` +
      `aria-label="${escape(text)}"></button>`;
  }).join("\n");
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.lastIndexOf(mark);
  return [text.slice(0, at), text.slice(at + mark.length)];
}
