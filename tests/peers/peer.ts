/** Installs the other engines once, and runs the programs that use them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** node-llama-cpp and llama.cpp's CPU binaries. npm would also add the large ones for GPUs. */
const PACKAGES = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"];

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const PEERS = join(ROOT, ".cache/peers");

/** Installs llama.cpp, unless it is installed. */
export async function installPeer(): Promise<void> {
  const isInstalled = (pinned: string) => {
    const at = pinned.lastIndexOf("@");
    const file = join(PEERS, "node_modules", pinned.slice(0, at), "package.json");
    return existsSync(file) &&
      JSON.parse(Deno.readTextFileSync(file)).version === pinned.slice(at + 1);
  };
  if (PACKAGES.every(isInstalled)) return;
  console.error(`Downloading ${PACKAGES.join(" and ")} from npm (first run only)`);
  Deno.mkdirSync(PEERS, { recursive: true });
  const options = ["--no-save", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"];
  const { success } = await new Deno.Command("npm", {
    args: ["install", "--prefix", PEERS, ...options, ...PACKAGES],
    stdout: "null",
  }).output();
  if (!success) {
    throw new Error(`Cannot compare with llama.cpp: npm did not install ${PACKAGES[0]}`);
  }
}

/** Packages of mlx-lm's Python environment. */
const MLX_PACKAGES = ["mlx[cpu]==0.32.4", "mlx-lm==0.32.2"];

/** Returns a Python with mlx-lm: TVLLM_MLX_PYTHON, or else one in which it is installed once. */
export async function installMlx(): Promise<string> {
  const given = Deno.env.get("TVLLM_MLX_PYTHON");
  if (given) return given;
  const environment = join(PEERS, "mlx");
  const python = join(environment, "bin/python");
  if (existsSync(join(environment, "installed"))) return python;
  console.error(`Downloading ${MLX_PACKAGES.join(" and ")} from PyPI (first run only)`);
  for (
    const [command, args] of [
      ["python3", ["-m", "venv", environment]],
      [python, ["-m", "pip", "install", "--quiet", ...MLX_PACKAGES]],
    ] as const
  ) {
    const { success } = await new Deno.Command(command, { args: [...args] }).output();
    if (!success) throw new Error(`Cannot compare with mlx-lm: ${command} ${args[1]} failed`);
  }
  Deno.writeTextFileSync(join(environment, "installed"), MLX_PACKAGES.join("\n"));
  return python;
}

/** Returns Deno's arguments to run a program of this folder; its first is node-llama-cpp's path. */
export function peerProgram(name: string): string[] {
  return [
    "run",
    "--no-config",
    "--node-modules-dir=manual",
    "--allow-all",
    "--deny-net",
    fileURLToPath(new URL(name, import.meta.url)),
    join(PEERS, "node_modules/node-llama-cpp/dist/index.js"),
  ];
}

/** Runs a program that answers each line of its input with a line of JSON. Returns the answers. */
export async function askLines(
  command: string,
  { args, requests }: { readonly args: readonly string[]; readonly requests: readonly unknown[] },
): Promise<unknown[]> {
  if (requests.length === 0) return [];
  const child = new Deno.Command(command, { args: [...args], stdin: "piped", stdout: "piped" })
    .spawn();
  const input = requests.map((request) => `${JSON.stringify(request)}\n`).join("");
  await new Blob([input]).stream().pipeTo(child.stdin);
  const { success, stdout } = await child.output();
  if (!success) throw new Error(`Cannot compare: ${command} ${args[0]} failed`);
  return new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
}
