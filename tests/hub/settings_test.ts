/** The sources of the hub's token. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { type HubAddress, hubAddress } from "../../engine/hub/settings.ts";

const NAMES = [
  "HF_TOKEN",
  "HF_TOKEN_PATH",
  "HF_HOME",
  "TVLLM_CACHE",
  "HF_HUB_CACHE",
  "HOME",
  "XDG_CACHE_HOME",
];

/** Returns the address if only these environment variables are set. */
function addressWith(variables: Readonly<Record<string, string>>, options = {}): HubAddress {
  const before = NAMES.map((name) => [name, Deno.env.get(name)] as const);
  try {
    for (const name of NAMES) Deno.env.delete(name);
    for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
    return hubAddress(options);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

Deno.test("hubAddress() uses HF_TOKEN, or else the token that hf auth login saved", () => {
  const directory = Deno.makeTempDirSync();
  const login = (...path: string[]) => {
    Deno.mkdirSync(join(directory, ...path.slice(0, -1)), { recursive: true });
    Deno.writeTextFileSync(join(directory, ...path), `${path.join("-")}\n`);
    return path.join("-");
  };
  const named = login("a token");
  const beside = login("huggingface", "token");
  const atHome = login("home", ".cache", "huggingface", "token");
  const hf = login("hf", "token");
  const at = (...path: string[]) => join(directory, ...path);
  const cases: readonly [Record<string, string>, string | undefined][] = [
    [{ HF_TOKEN: " x ", HF_TOKEN_PATH: at("a token") }, "x"],
    [{ HF_TOKEN_PATH: at("a token"), HF_HOME: at("hf") }, named],
    [{ HF_HOME: at("hf"), HOME: at("home") }, hf],
    [{ TVLLM_CACHE: at("huggingface", "hub"), HOME: at("home") }, beside],
    [{ TVLLM_CACHE: at("huggingface", "other"), HOME: at("home") }, atHome],
    [{ XDG_CACHE_HOME: directory, HOME: at("home") }, beside],
    [{ HF_TOKEN_PATH: at("none") }, undefined],
    [{ HF_TOKEN_PATH: directory }, undefined],
    [{}, undefined],
  ];
  for (const [variables, token] of cases) assert.equal(addressWith(variables).token, token);
  Deno.writeTextFileSync(at("a token"), "x".repeat(5000));
  assert.equal(addressWith({ HF_TOKEN_PATH: at("a token") }).token, undefined);
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("hubAddress() says where the token is from, so that errors do not blame HF_TOKEN", () => {
  const source = (options: Partial<HubAddress>, variables = {}) =>
    addressWith(variables, options).tokenSource;
  assert.equal(source({}, { HF_TOKEN: "x" }), undefined);
  assert.equal(source({ token: "y" }, { HF_TOKEN: "x" }), "the token passed in the options");
  assert.equal(source({ token: "y", tokenSource: "a file" }), "a file");
  assert.equal(source({ token: "" }), undefined);
});
