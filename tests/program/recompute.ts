/** Runs tests/bench/recompute.py on a report. */

import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("../bench/recompute.py", import.meta.url));

/**
 * Recomputes a report's figures from its JSON, in Python. Returns the number of figures that agree,
 * and of all figures.
 *
 * @throws {Error} if a figure does not agree.
 */
export async function recompute(json: string): Promise<{ agree: number; of: number }> {
  const command = new Deno.Command("python3", {
    args: [SCRIPT, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  const process = command.spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(json));
  await writer.close();
  const { success, stdout, stderr } = await process.output();
  const said = new TextDecoder().decode(success ? stdout : stderr).trim();
  if (!success) throw new Error(said);
  const [, of, agree] = /: of (\d+) figures (\d+) were recomputed, and agree$/.exec(said)!;
  return { agree: Number(agree), of: Number(of) };
}
