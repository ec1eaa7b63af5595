import assert from "node:assert/strict";
import { join } from "node:path";
import { z } from "zod";
import { reportSchema } from "../../bench/report/report.ts";
import { ROOT, runTvllm, symlink } from "./run_tvllm.ts";
import { slowCheckout } from "./slow_checkout.ts";

const SHORT = "ab -p 8 -n 4 --budget 0.1".split(" ");
const CPU = ["--device", "cpu", "--threads", "1"];

Deno.test("tvllm bench ab compares two settings, and tvllm compare reads its report", async () => {
  const directory = await Deno.makeTempDir();
  const [json, csv] = ["ab.json", "ab.csv"].map((name) => join(directory, name));
  // The longest context is a condition that `compare` otherwise rejects.
  const sides = ["--", ...CPU, "--", ...CPU, "--kv-type", "f32", "-c", "64"];
  const run = await runTvllm(["bench", ...SHORT, "--json", json!, "--csv", csv!, ...sides]);
  assert.equal(run.code, 0, run.stderr);
  assert.match(
    run.stdout,
    /^# B \(--device cpu --threads 1 --kv-type f32 -c 64\) against A \(--device/,
  );
  assert.match(run.stdout, /^\| KV cache +\| f16 +\| f32 +\|$/m);
  assert.match(run.stdout, /were interleaved:/);
  assert.match(run.stdout, /^\*\*By e2e, .*\*\* \(\d\.\d{3} .* after \d+ rounds of four runs\)/m);
  assert.match(await Deno.readTextFile(csv!), /,ab,tvllm stories,,e2e,ms,/);
  const [a, b] = z.array(reportSchema).parse(JSON.parse(await Deno.readTextFile(json!)));
  assert.equal(a!.interleaved!.id, b!.interleaved!.id);
  assert.equal(a!.run.repetitions, a!.results[0]!.samples!.length);
  assert.ok(a!.run.repetitions >= 1);
  const again = await runTvllm(["compare", json!]);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^# B against A\n\n## ab: /);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("tvllm bench ab --against measures two checkouts, each with its own library", async () => {
  const directory = slowCheckout();
  const args = [...SHORT, "--against", directory, "--budget", "60"];
  const json = join(directory, "ab.json");
  const run = await runTvllm(["bench", ...args, "--json", json, "--", ...CPU]);
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^# B \(this checkout --device cpu --threads 1\) against A \(\/.*1\)$/m);
  assert.match(run.stdout, /^\| tvllm +\| 0\.0\.7, commit unknown +\| \d/m);
  assert.match(run.stdout, /^\| e2e .*\| faster +\|$/m);
  assert.match(run.stdout, /\*\*By e2e, B takes .* less time than A\*\*/);
  const [a, b] = z.array(reportSchema).parse(JSON.parse(await Deno.readTextFile(json)));
  assert.deepEqual([a!.environment.host.threads, b!.environment.host.threads], [5, 1]);
  assert.equal(a!.environment.model.sha256, b!.environment.model.sha256);
  await Deno.remove(directory, { recursive: true });
});

Deno.test({
  name: "tvllm bench ab --against starts a Deno whose path contains a comma",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const directory = Deno.makeTempDirSync({ prefix: "h, c " });
    symlink(Deno.execPath(), join(directory, "deno"));
    const args = ["bench", ...SHORT, "--against", slowCheckout(), "--", ...CPU];
    const PATH = `${directory}:${Deno.env.get("PATH")}`;
    const { code, stderr } = await runTvllm(args, { env: { PATH } });
    assert.equal(code, 0, stderr);
  },
});

Deno.test("tvllm bench ab --against prints no errors of libraries", async () => {
  const args = ["bench", ...SHORT, "--budget", "0.5", "--against", ROOT, "-q"];
  const { code, stderr } = await runTvllm(args, { env: { XDG_RUNTIME_DIR: "" } });
  assert.deepEqual([code, stderr], [0, ""]);
});

Deno.test("tvllm bench ab --against reports what a checkout cannot do", async () => {
  const directory = slowCheckout();
  for (
    const [options, message] of [
      [["--", "--device", "cpu", "--threads", "3", "--", ...CPU], /there are no three threads/],
      [
        ["-p", "99", "--", ...CPU, "--", ...CPU],
        /the context has room for 100; request fewer tokens/,
      ],
    ] as const
  ) {
    const { code, stderr } = await runTvllm([
      "bench",
      ...SHORT,
      "--against",
      directory,
      ...options,
    ]);
    assert.notEqual(code, 0);
    assert.match(stderr, message);
  }
  const { code, stderr } = await runTvllm(["bench", "ab", "--against", join(directory, "none")]);
  assert.equal(code, 2);
  assert.match(stderr, /Cannot compare with .*none: it is not a checkout of tvllm/);
  await Deno.remove(directory, { recursive: true });
});

for (
  const [args, message] of [
    [[], /Cannot compare one side: give two, as in tvllm bench ab -- --threads 1 -- --threads 2/],
    [["--", "--threads", "1"], /Cannot compare one side/],
    [["--", "--fast", "--"], /unknown option '--fast'/],
    [["--", "--backend", "vulkan", "--"], /Cannot use --backend for a side/],
    [["--backend", "vulkan", "--", "--"], /Cannot use --backend for a side/],
    [["--threads", "1"], /Cannot use --threads before the first --: it is an option of a side/],
    [["--kv-type=f32", "--", "--"], /Cannot use --kv-type before the first --/],
    [["-m", "x.gguf", "--against", "."], /Cannot use -m before the first --/],
    [["--", "--metric", "e2e", "--"], /Cannot use --metric for a side: .* before the first --/],
    [["--agianst", "."], /'--agianst' \(Did you mean --against\?\); see tvllm bench ab --help/],
    [["--", "--thread", "1", "--"], /'--thread' \(Did you mean --threads\?\)/],
    [
      ["-p", "3000", "--", ...CPU, "--", ...CPU],
      /after a prompt of 3000: the context has room for 2048; request fewer tokens/,
    ],
    [["--", ...CPU, "-m", "no.gguf", "--", ...CPU], /no\.gguf/],
  ] as const
) {
  Deno.test(`tvllm bench ab ${args.join(" ")} is refused`, async () => {
    const { code, stdout, stderr } = await runTvllm(["bench", "ab", ...args]);
    assert.ok(code === 2 || code === 3, `${code}`);
    assert.match(stderr, message);
    assert.equal(stdout, "");
  });
}
