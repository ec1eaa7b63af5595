/**
 * `deno task isa [--gpu CHIP]… [--only WORDS] [--golden]` prints statistics of AMD's compiler for
 * every kernel for hardware GPUs, as markdown tables. It needs no GPU. `--only` selects kernels
 * whose names contain all of these words; `--golden` writes the results to the golden file. Exit
 * code 1: a kernel spills registers, or results differ from the golden file; 2: no kernel has these
 * words in its name. If the driver is not available, it exits with 0.
 */

import { parseArgs } from "node:util";
import { chipFeatures, CHIPS, figuresFor, NoDriverError } from "./driver.ts";
import { differences, type Figures, figuresTable, spilling } from "./report.ts";
import { unknownWords } from "./words.ts";
import { variants } from "./variants.ts";

const GOLDEN = new URL("../fixtures/goldens/isa.json", import.meta.url);

const { values } = parseArgs({
  options: {
    gpu: { type: "string", multiple: true },
    only: { type: "string", default: "" },
    golden: { type: "boolean", default: false },
  },
});
const words = values.only.toLowerCase().split(/\s+/).filter((word) => word !== "");
const wanted = (name: string) => words.every((word) => name.toLowerCase().includes(word));
const chips = values.gpu ?? CHIPS;
const namesFor = (chip: string) => variants(chipFeatures(chip)).map(({ name }) => name);
const unknown = unknownWords(words, chips.flatMap(namesFor));
if (unknown !== undefined) {
  console.error(`error: ${unknown}`);
  Deno.exit(2);
}

const golden: Record<string, Record<string, Figures>> = JSON.parse(Deno.readTextFileSync(GOLDEN));
let failed = false;
for (const chip of chips) {
  let figures: ReadonlyMap<string, Figures>;
  try {
    figures = await figuresFor(chip, wanted);
  } catch (error) {
    if (!(error instanceof NoDriverError)) throw error;
    console.error(`Skipping: ${error.message}`);
    Deno.exit(0);
  }
  console.log(`## ${chip}\n\n${figuresTable(figures)}\n`);
  for (const name of spilling(figures)) complain(`${chip}: ${name} spills`);
  if (values.golden) {
    const known = { ...golden[chip], ...Object.fromEntries(figures) };
    // In the order of `variants`, without kernels that no longer exist.
    golden[chip] = Object.fromEntries(
      namesFor(chip).flatMap((name) => known[name] ? [[name, known[name]]] : []),
    );
  } else if (golden[chip]) {
    const expected = Object.entries(golden[chip]).filter(([name]) => wanted(name));
    for (const name of differences(figures, Object.fromEntries(expected))) {
      complain(`${chip}: ${name} differs from the golden file (--golden updates it)`);
    }
  }
}
if (values.golden) Deno.writeTextFileSync(GOLDEN, goldenText(golden));
Deno.exit(failed ? 1 : 0);

function complain(message: string): void {
  console.error(`error: ${message}`);
  failed = true;
}

/** Returns the JSON with one line per kernel, so that diffs are readable. */
function goldenText(chips: Record<string, Record<string, Figures>>): string {
  const text = Object.entries(chips).map(([chip, kernels]) => {
    const lines = Object.entries(kernels)
      .map(([name, figures]) => `    ${JSON.stringify(name)}: ${JSON.stringify(figures)}`);
    return `  ${JSON.stringify(chip)}: {\n${lines.join(",\n")}\n  }`;
  });
  return `{\n${text.join(",\n")}\n}\n`;
}
