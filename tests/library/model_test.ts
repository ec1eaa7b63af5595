/** A loaded model: its answers, how they end, and how it shares its device. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { scoresAmongAnswers } from "./scores_among_answers.ts";
import { DeviceError, load, type Model, RequestError } from "../../mod.ts";

const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));
const STORY = "Once upon a time";
const GREEDY = { temperature: 0, maxTokens: 24 };

/** Returns a test function that runs `use` with the built-in model on the CPU. */
function withModel(use: (model: Model) => Promise<void>): () => Promise<void> {
  return async () => {
    await using model = await load(MODEL, { device: "cpu", contextLength: 256, maxSequences: 4 });
    await use(model);
  };
}

function isIdle({ engine }: Model): void {
  const { running, waiting, blocks } = engine.stats;
  assert.deepEqual([running, waiting, blocks.used], [0, 0, 0]);
}

Deno.test(
  "Model.generate() yields text and tokens as they are generated, and a summary at the end",
  withModel(async (model) => {
    const answer = model.generate(STORY, { ...GREEDY, seed: 5, logprobs: 2 });
    assert.equal(answer.summary, undefined);
    assert.deepEqual(answer.promptIds, model.encodePrompt(STORY).ids);
    let text = "";
    const ids: number[] = [];
    for await (const piece of answer) {
      text += piece.text;
      if (piece.token) ids.push(piece.token.id);
    }
    const summary = answer.summary!;
    assert.equal(ids.length, 24);
    assert.equal(text, model.tokenizer.decode(ids, { continues: true }));
    const { timeToFirst, timePerToken, total, logprobs, ...rest } = summary;
    assert.deepEqual(rest, {
      text,
      ids,
      finish: "length",
      promptTokens: answer.promptIds.length,
      seed: 5,
    });
    assert.ok(timeToFirst > 0 && timePerToken! > 0 && total >= timeToFirst);
    assert.deepEqual(logprobs!.map(({ top }) => top[0]!.id), ids);
    isIdle(model);
    const complete = await model.complete(STORY, GREEDY);
    assert.deepEqual([complete.text, complete.ids, complete.logprobs], [text, ids, undefined]);
  }),
);

Deno.test(
  "Model.generate() draws another seed each time, and repeats an answer for the same seed",
  withModel(async (model) => {
    const options = { maxTokens: 24 };
    const [a, b] = [await model.complete(STORY, options), await model.complete(STORY, options)];
    assert.notEqual(a.seed, b.seed);
    assert.notDeepEqual(a.ids, b.ids);
    assert.deepEqual((await model.complete(STORY, { ...options, seed: a.seed })).ids, a.ids);
  }),
);

Deno.test(
  "Model.generate() ends before a stop string, and releases text that only began like one",
  withModel(async (model) => {
    const { text } = await model.complete(STORY, GREEDY);
    const stop = text.slice(20, 26);
    for (const stops of [stop, ["never in it", stop]]) {
      const cut = await model.complete(STORY, { ...GREEDY, stop: stops });
      assert.equal(cut.text, text.slice(0, text.indexOf(stop)));
      assert.equal(cut.finish, "stop");
    }
    const answer = model.generate(STORY, { ...GREEDY, stop: `${text.slice(-4)} and no more` });
    const pieces = await Array.fromAsync(answer);
    assert.equal(pieces.map((piece) => piece.text).join(""), text);
    assert.deepEqual(pieces.map(({ token }) => token === undefined), [
      ...Array(24).fill(false),
      true,
    ]);
    isIdle(model);
  }),
);

Deno.test(
  "Model.generate() computes answers together, with the same tokens as alone, read or not",
  withModel(async (model) => {
    const prompts = ["The king said", "In a wood", "A wolf"];
    const alone = [];
    for (const prompt of prompts) alone.push((await model.complete(prompt, GREEDY)).ids);
    const before = model.engine.stats.steps;
    const answers = prompts.map((prompt) => model.generate(prompt, GREEDY));
    const together = await Promise.all(answers.map((answer) => answer.complete()));
    assert.deepEqual(together.map(({ ids }) => ids), alone);
    assert.ok(model.engine.stats.steps - before < 3 * 24);
    // A completed answer can be requested again.
    assert.deepEqual((await answers[0]!.complete()).ids, alone[0]);
  }),
);

Deno.test(
  "leaving the loop, or a signal, ends an answer and keeps the tokens so far",
  withModel(async (model) => {
    const answer = model.generate(STORY, { ...GREEDY, maxTokens: 200 });
    const seen: number[] = [];
    for await (const { token } of answer) if (seen.push(token!.id) === 3) break;
    assert.deepEqual([answer.summary!.ids, answer.summary!.finish], [seen, "cancelled"]);
    isIdle(model);
    const controller = new AbortController();
    const aborted = model.generate(STORY, { maxTokens: 200, signal: controller.signal });
    for await (const { token } of aborted) if (token?.index === 2) controller.abort();
    assert.equal(aborted.summary!.finish, "cancelled");
    assert.ok(aborted.summary!.ids.length < 200);
    isIdle(model);
  }),
);

Deno.test(
  "Model.generate() refuses wrong options at once",
  withModel(async (model) => {
    const wrong: [Parameters<Model["generate"]>[1], RegExp][] = [
      [{ maxTokens: 0 }, /maxTokens is 0/],
      [{ temperature: -1 }, /temperature -1/],
      [{ topP: 2 }, /topP 2/],
      [{ seed: 1.5 }, /seed 1\.5/],
      [{ logprobs: -1 }, /logprobs is -1/],
      [{ stop: "" }, /Cannot stop at an empty string/],
      [{ logitBias: new Map([[1e6, 1]]) }, /a token id below/],
      [{ raw: true, system: "x" }, /Cannot use a system message/],
    ];
    for (const [options, message] of wrong) {
      assert.throws(() => model.generate(STORY, options), (error) => {
        assert.ok(error instanceof RequestError && error.kind === "invalid", String(error));
        assert.match(error.message, message);
        return true;
      });
      await assert.rejects(model.complete(STORY, options), message);
    }
    assert.throws(() => model.generate("a ".repeat(300)), { kind: "too-long" });
    isIdle(model);
  }),
);

Deno.test(
  "an answer throws the error of a failed engine, and has no summary",
  withModel(async (model) => {
    const lost = new DeviceError("lost", "Cannot continue: the device was lost");
    const runner = Object.create(model.runner, {
      submit: {
        value: (batch: Parameters<Model["runner"]["submit"]>[0]) => {
          if (batch.sequences[0]!.start > 8) throw lost;
          return model.runner.submit(batch);
        },
      },
    });
    await model.withEngine({ runner }, async () => {
      const answer = model.generate(STORY, GREEDY);
      await assert.rejects(answer.complete(), lost);
      assert.equal(answer.summary, undefined);
    });
    assert.equal((await model.complete(STORY, GREEDY)).ids.length, 24);
  }),
);

Deno.test(
  "Model.withEngine() lends the device to a new engine, and then continues with another one",
  withModel(async (model) => {
    const long = "The king said to the queen, ".repeat(4);
    const { ids } = await model.complete(long, GREEDY);
    const running = model.generate(STORY, { maxTokens: 200 });
    const own = model.engine;
    const used = await model.withEngine({ prefixCacheBlocks: 0 }, async (engine) => {
      assert.notEqual(engine, own);
      assert.equal((await running.complete()).finish, "cancelled");
      assert.throws(() => own.submit({ promptIds: [1] }), /the engine was stopped/);
      await assert.rejects(
        model.withEngine({}, () => Promise.resolve()),
        /another one is using the device/,
      );
      const { ids: promptIds } = model.encodePrompt(long);
      const request = { promptIds, maxTokens: 24, sampling: { temperature: 0 } };
      for (let i = 0; i < 2; i++) {
        assert.deepEqual((await engine.generate([request]))[0]!.ids, ids);
      }
      assert.equal(engine.stats.prefix.tokensSaved, 0);
      return engine;
    });
    assert.throws(() => used.submit({ promptIds: [1] }), /the engine was stopped/);
    // The earlier cache was overwritten, and no entry of it is used.
    assert.deepEqual((await model.complete(long, GREEDY)).ids, ids);
    assert.equal(model.engine.stats.prefix.tokensSaved, 0);
    assert.deepEqual((await model.complete(long, GREEDY)).ids, ids);
    assert.ok(model.engine.stats.prefix.tokensSaved > 0);
    const failure = new Error("no");
    await assert.rejects(model.withEngine({}, () => Promise.reject(failure)), failure);
    assert.deepEqual((await model.complete(long, GREEDY)).ids, ids);
  }),
);

Deno.test("Model.perplexity() changes no answer and no cached prefix", () => {
  return scoresAmongAnswers("cpu");
});

Deno.test("Model.close() ends running answers, can be called again, and later calls report it", async () => {
  const model = await load(new URL(`file://${MODEL}`), { device: "cpu", contextLength: 256 });
  const answer = model.generate(STORY, { maxTokens: 200 });
  await Promise.all([model.close(), model.close()]);
  await model.close();
  await model[Symbol.asyncDispose]();
  assert.equal((await answer.complete()).finish, "cancelled");
  assert.throws(() => model.generate(STORY), /the engine was stopped/);
  await assert.rejects(model.perplexity(STORY), /the engine was stopped/);
  await assert.rejects(model.withEngine({}, () => Promise.resolve()), /the model is closed/);
});

Deno.test("Model.close() during withEngine() ends that engine too", async () => {
  const model = await load(MODEL, { device: "cpu", contextLength: 256 });
  const lent = model.withEngine({}, async (engine) => {
    const stream = engine.submit({ promptIds: [1, 2], maxTokens: 200 });
    await stream.next();
    await model.close();
    while (!(await stream.next()).done);
    return stream.finish;
  });
  assert.equal(await lent, "cancelled");
  assert.throws(() => model.generate(STORY), /the engine was stopped/);
});
