import assert from "node:assert/strict";
import { RandomSource } from "../../engine/files/random_weights.ts";
import { type Measured, race, type RaceOptions } from "../../bench/harness/race.ts";
import { sequentialInterval } from "../../bench/report/comparison/sequential.ts";

/** A race of runs whose times are scripted, with a clock of its own. */
function scripted(time: (side: "a" | "b", run: number) => number) {
  const clock = { now: 0 };
  const order: string[] = [];
  const side = (name: "a" | "b") => (): Promise<Measured> => {
    const milliseconds = time(name, order.push(name) - 1);
    clock.now += milliseconds;
    return Promise.resolve({ e2e: milliseconds, ttft: 1 });
  };
  const options: RaceOptions = {
    metric: "e2e",
    margin: 0.01,
    budget: 60_000,
    warmUps: 0,
    seed: 1,
    now: () => clock.now,
  };
  const run = (more: Partial<RaceOptions> = {}) =>
    race(side("a"), side("b"), { ...options, ...more });
  return { order, run };
}

/** Random times around 10 ms. Those of side b are longer by the share `slower`. */
function noisy(seed: number, { slower = 0, spread = 0.1 } = {}) {
  const random = new RandomSource(seed);
  return (side: "a" | "b") => {
    const noise = [1, 2, 3].reduce((sum) => sum + random.uint32() / 2 ** 31 - 1, 0);
    return 10 * Math.exp(spread * noise) * (side === "b" ? 1 + slower : 1);
  };
}

Deno.test("race() runs A B B A or B A A B in each round, as a coin decides", async () => {
  const { order, run } = scripted(noisy(1));
  const { rounds, a, b, ending } = await run({ budget: 2000, margin: 0 });
  assert.equal(ending, "budget");
  assert.ok(rounds >= 45 && rounds <= 55, `${rounds}`);
  assert.equal(order.length, 4 * rounds);
  const all = Array.from({ length: rounds }, (_, i) => order.slice(4 * i, 4 * i + 4).join(""));
  const counts = Map.groupBy(all, (round) => round);
  assert.deepEqual([...counts.keys()].sort(), ["abba", "baab"]);
  for (const same of counts.values()) assert.ok(same.length > rounds / 4);
  for (const samples of [a, b]) assert.equal(samples.e2e!.length, rounds);
  assert.deepEqual(a.ttft, Array(rounds).fill(1));
});

Deno.test("race() warms up, and then uses the mean of a side's runs in each round", async () => {
  const { order, run } = scripted((side, run) => side === "a" ? 1 + run : 100);
  const { a, b } = await run({ warmUps: 3, budget: 0 });
  assert.equal(order.slice(0, 6).join(""), "ababab");
  const own = order.slice(6).flatMap((side, i) => side === "a" ? [7 + i] : []);
  assert.deepEqual(a.e2e, [(own[0]! + own[1]!) / 2]);
  assert.deepEqual(b.e2e, [100]);
});

Deno.test("race() stops when it has shown a difference, or that there is none", async () => {
  const clear = await scripted((side) => side === "b" ? 11 : 10).run();
  assert.equal(clear.ending, "difference");
  assert.equal(clear.rounds, 7, "the coin falls the same way seven times in a row");
  assert.ok(Math.abs(clear.ratio - 1.1) < 1e-9);
  const same = await scripted((_, run) => 10 + (run % 4 === 1 ? 0.01 : 0)).run();
  assert.equal(same.ending, "equal");
});

Deno.test("race() returns the finished rounds when it is interrupted", async () => {
  const abort = new AbortController();
  const script = scripted(noisy(2));
  const result = await script.run({
    signal: abort.signal,
    progress: ({ rounds }) => rounds === 3 && abort.abort(),
  });
  assert.equal(result.rounds, 3);
  assert.equal(result.ending, "interrupted");
  const before = new AbortController();
  before.abort(new Error("early"));
  await assert.rejects(script.run({ signal: before.signal }), /early/);
});

/** Runs `count` races. Returns how many found a difference, and the median number of rounds. */
async function races(
  count: number,
  script: (seed: number) => ReturnType<typeof scripted>,
  budget = 4_000,
) {
  let found = 0;
  const rounds: number[] = [];
  for (let seed = 1; seed <= count; seed++) {
    const result = await script(seed).run({ seed, margin: 0.001, budget });
    if (result.ending === "difference") found++;
    rounds.push(result.rounds);
  }
  return { found, rounds: rounds.sort((a, b) => a - b)[count >> 1]! };
}

Deno.test("a difference is found between equal sides in at most 5 of 100 races of 100 rounds", async () => {
  const { found } = await races(300, (seed) => scripted(noisy(seed)));
  assert.ok(found <= 15, `${found} of 300`);
});

Deno.test("no more differences are found if the machine drifts and some runs are disturbed", async () => {
  const { found } = await races(200, (seed) => {
    const noise = noisy(seed);
    // The machine becomes slower, and each third run is disturbed.
    return scripted((side, run) => noise(side) * (1 + run / 500) * (run % 3 === 0 ? 1.5 : 1));
  });
  assert.ok(found <= 10, `${found} of 200`);
});

Deno.test("a slowdown of a tenth is found in 95 of 100 races, and sooner than one of 3 %", async () => {
  const tenth = await races(100, (seed) => scripted(noisy(seed, { slower: 0.1 })), 60_000);
  assert.ok(tenth.found >= 95, `${tenth.found}`);
  const three = await races(
    30,
    (seed) => scripted(noisy(seed, { slower: 0.03, spread: 0.05 })),
    60_000,
  );
  assert.ok(three.found >= 28, `${three.found}`);
  assert.ok(tenth.rounds < three.rounds * 2);
});

Deno.test("sequentialInterval() needs seven ratios, and narrows with more", () => {
  const ratios = (n: number) => Array.from({ length: n }, (_, i) => 1 + i / n);
  assert.equal(sequentialInterval(ratios(6)), undefined);
  assert.deepEqual(sequentialInterval(ratios(7)), [1, 1 + 6 / 7]);
  // Computed by hand for 20 ratios: with 3 below, the bet is worth 2^20 B(3.5, 17.5) / B(.5, .5) =
  // 39; with 4 below, it is worth 8.
  assert.deepEqual(sequentialInterval(ratios(20)), [1 + 3 / 20, 1 + 16 / 20]);
  const width = (n: number) => sequentialInterval(ratios(n))!.reduce((low, high) => high - low);
  assert.ok(width(1000) < 0.15 && width(100) < width(20));
});
