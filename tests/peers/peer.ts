/** llama.cpp as a program of its own, through node-llama-cpp, which npm installs once. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The binaries of llama.cpp for this machine; those for GPUs, which npm would add, are large. */
const PACKAGES = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"];

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const PEERS = join(ROOT, ".cache/peers");

/** Installs llama.cpp, once. */
export async function installPeer(): Promise<void> {
  if (
    PACKAGES.every((name) => existsSync(join(PEERS, "node_modules", name.replace(/@[\d.]+$/, ""))))
  ) {
    return;
  }
  console.error(`Getting ${PACKAGES.join(" and ")} from npm, once`);
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

/** Arguments of Deno that run one of this folder's programs with node-llama-cpp as its first one. */
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
