/** `tvllm generate --endpoint`: the same command line, answered by a server. */

import assert from "node:assert/strict";
import { listening } from "../server/served.ts";
import { NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";
import { baseEnv, LAUNCHER, ROOT, run, runTvllm, until } from "./run_tvllm.ts";
import { withServer } from "./served.ts";

const KEY = "a-secret";
const SERVER = { command: "sh", args: [LAUNCHER], env: baseEnv() };
const GREEDY = ["--temp", "0", "-n", "16"];
const LOCAL = ["--device", "cpu", "--threads", "1"];

interface Logprobs {
  readonly token: string;
  readonly logprob: number;
  readonly top: readonly { readonly logprob: number }[];
}

/** Runs the command with the key in the environment, where process lists do not show it. */
function generate(args: readonly string[], options: Parameters<typeof runTvllm>[1] = {}) {
  const env = { TVLLM_API_KEY: KEY, ...options.env };
  return runTvllm(["generate", ...args], { ...options, env });
}

Deno.test("tvllm generate --endpoint prints the same answers as the model itself", async () => {
  await withServer(SERVER, ["--api-key", KEY], async ({ address }) => {
    const remote = ["--endpoint", address];
    const prompt = ["Once upon a time", ...GREEDY];
    const here = JSON.parse((await generate([...LOCAL, ...prompt, "--json"])).stdout);

    const text = await generate([...remote, ...prompt, "-v"]);
    assert.equal(text.code, 0, text.stderr);
    assert.equal(text.stdout, `${here.text}\n`);
    assert.match(text.stderr, /Stopped after 16 tokens; raise -n/);
    assert.ok(text.stderr.includes(`tok/s), on ${address}\n`), text.stderr);
    assert.ok(!text.stderr.includes(KEY));

    const json = JSON.parse((await generate([...remote, ...prompt, "--json"])).stdout);
    assert.deepEqual(Object.keys(json), [
      ...["model", "endpoint", "prompt_tokens", "generated_tokens", "counted_by", "finish"],
      ...["seed", "ttft_ms", "tpot_ms", "total_ms", "decode_tokens_per_second", "text"],
    ]);
    const { text: answer, prompt_tokens, generated_tokens, counted_by, finish } = json;
    assert.deepEqual({ answer, prompt_tokens, generated_tokens, counted_by, finish }, {
      answer: here.text,
      prompt_tokens: here.prompt_tokens,
      generated_tokens: 16,
      counted_by: "usage",
      finish: "length",
    });

    const lines = (await generate([...remote, ...prompt, "--raw", "--jsonl"])).stdout.trimEnd()
      .split("\n").map((line) => JSON.parse(line));
    assert.equal(lines.slice(0, -1).map(({ text }) => text).join(""), here.text);
    assert.equal(lines.at(-1).generated_tokens, 16);

    // The ids are not compared, because the server does not send them.
    const asked = ["--json", "--logprobs", "2"];
    const own = JSON.parse((await generate([...LOCAL, ...prompt, ...asked])).stdout).logprobs
      .map(({ logprob, top }: Logprobs) => [logprob, top.map(({ logprob }) => logprob)]);
    for (const way of [[], ["--raw"]]) {
      const { logprobs } = JSON.parse(
        (await generate([...remote, ...prompt, ...way, ...asked])).stdout,
      );
      assert.deepEqual(
        logprobs.map(({ logprob, top }: Logprobs) => [logprob, top.map(({ logprob }) => logprob)]),
        own,
      );
      assert.equal(logprobs.map(({ token }: Logprobs) => token).join(""), here.text);
    }

    const drawn = ["The king", "-n", "8", "--seed", "3", "-q"];
    const [first, second] = [
      await generate([...remote, ...drawn]),
      await generate([...LOCAL, ...drawn]),
    ];
    assert.equal(first.stdout, second.stdout);

    const many = await generate([...remote, "--prompts", "-", "--json", ...GREEDY], {
      stdin: '{"prompt": "Once upon a time", "id": 4}\n{"prompt": "The king said"}',
    });
    const answers = JSON.parse(many.stdout);
    assert.deepEqual([answers[0].id, answers[0].text], [4, here.text]);
    assert.match(many.stderr, /2 answers, 32 tokens in/);

    const wrongKey = await generate([...remote, "hi"], { env: { TVLLM_API_KEY: "other" } });
    assert.equal(wrongKey.code, 2);
    assert.match(wrongKey.stderr, /^error: .* answers 401: .*\n$/);
  });
});

Deno.test("tvllm generate --endpoint refuses, by name, options that do not apply to a server", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["--device", "cpu"], /Cannot use --device with --endpoint: it is for a model on this machine/],
    [["-m", "x.gguf"], /Cannot use --model with --endpoint/],
    [["-c", "64"], /Cannot use --ctx-size with --endpoint/],
    [["--repeat-last-n", "8"], /Cannot use --repeat-last-n with --endpoint/],
    [["--chat-template", "chatml"], /Cannot use --chat-template with --endpoint/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await generate(["--endpoint", "http://127.0.0.1:9", "hi", ...args]);
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const nobody = `http://127.0.0.1:${listener.addr.port}`;
  listener.close();
  for (
    const [args, message] of [
      [["--api-key", "x"], /Cannot use --api-key without --endpoint/],
      [["--endpoint", "localhost:8080"], /Cannot use the endpoint localhost:8080: expected/],
      [["--endpoint", "http://u:pass@host"], /a user name or a password: give the key with/],
      [
        ["--endpoint", nobody],
        /Cannot reach http:\/\/127\.0\.0\.1:\d+\/v1\/models: tcp connect error: .*refused/,
      ],
      [["--endpoint", "http://no-such-host.invalid"], /Cannot reach .*: dns error: /],
    ] as const
  ) {
    const { code, stderr } = await generate(["hi", ...args]);
    assert.equal(code, 2);
    assert.match(stderr, message);
    assert.ok(!stderr.includes("pass@"), stderr);
  }
});

Deno.test("tvllm generate --endpoint: Ctrl-C keeps the text so far, cancels the rest, exits with 130", async () => {
  let cancelled = false;
  await listening((request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    const body = new ReadableStream({
      start: (controller) =>
        controller.enqueue(
          new TextEncoder().encode('data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n'),
        ),
      cancel: () => void (cancelled = true),
    });
    return new Response(body);
  }, async (address) => {
    const script = `sh "$0" generate -q --endpoint ${address} hi & child=$!
      while read -r line; do kill -INT $child; break; done; wait $child; echo "exit $?"`;
    const child = new Deno.Command("sh", {
      args: ["-c", script, LAUNCHER],
      ...{ clearEnv: true, env: baseEnv(), cwd: ROOT },
      ...{ stdin: "piped", stdout: "piped", stderr: "inherit" },
    }).spawn();
    let out = "";
    const reading = (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) out += text;
    })();
    await until(() => out.includes("Hello") || undefined, () => out);
    const stdin = child.stdin.getWriter();
    await stdin.write(new TextEncoder().encode("now\n"));
    await stdin.close();
    await reading;
    await child.status;
    assert.equal(out, "Hello\nexit 130\n");
    await until(() => cancelled || undefined, () => "The request was not cancelled");
  });
});

/** Calls `use` with a server that begins each answer with this text and then closes the connection. */
async function cuttingOff(text: string, use: (address: string) => Promise<void>): Promise<void> {
  await listening((request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    return new Response(`data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`);
  }, use);
}

Deno.test("tvllm generate --endpoint prints the text before a broken connection, in every form", async () => {
  await cuttingOff("The answer is 4.", async (address) => {
    const remote = ["--endpoint", address, "-q"];
    const text = await generate([...remote, "hi"]);
    assert.deepEqual([text.code, text.stdout], [2, "The answer is 4.\n"]);
    assert.match(text.stderr, /^error: Cannot read an answer from .*: it was cut off\n$/);
    const json = await generate([...remote, "hi", "--json"]);
    const { finish, error, text: received } = JSON.parse(json.stdout);
    assert.deepEqual([json.code, finish, received], [2, "error", "The answer is 4."]);
    assert.match(error, /it was cut off$/);
    const lines = (await generate([...remote, "hi", "--jsonl"])).stdout.trimEnd().split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual([lines[0].text, lines[1].finish], ["The answer is 4.", "error"]);
  });
  await cuttingOff("", async (address) => {
    const none = await generate(["--endpoint", address, "hi", "--json"]);
    assert.deepEqual([none.code, none.stdout], [2, ""]);
  });
});

Deno.test("tvllm generate --prompts completes the other answers if a server fails", async () => {
  await listening(async (request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    const { messages: [{ content }] } = await request.json();
    if (content === "b") return new Response("overloaded", { status: 503 });
    const event = `data: ${
      JSON.stringify({ choices: [{ delta: { content: `${content}!` } }] })
    }\n\n`;
    return new Response(content === "d" ? event : `${event}data: [DONE]\n\n`);
  }, async (address) => {
    const stdin = "a\nb\nc\nd\ne\n";
    const many = (...args: string[]) =>
      generate(["--endpoint", address, "--prompts", "-", ...args], { stdin });
    for (const concurrency of ["1", "2"]) {
      const text = await many("--concurrency", concurrency);
      const part = (number: number, prompt: string) => `## ${number}: ${prompt}\n${prompt}!\n`;
      assert.equal(
        text.stdout,
        [part(1, "a"), part(3, "c"), part(4, "d"), part(5, "e")].join("\n"),
      );
      assert.equal(text.code, 2);
      assert.match(
        text.stderr,
        /^3 answers, 3 tokens in .*\nerror: Cannot answer 2 of 5 prompts \(2, 4\): .* answers 503: overloaded\n$/,
      );
    }
    for (const form of ["--json", "--jsonl"]) {
      const { code, stdout } = await many(form);
      const objects = form === "--json"
        ? JSON.parse(stdout)
        : stdout.trimEnd().split("\n").map((line) => JSON.parse(line)).sort((a, b) =>
          a.index - b.index
        );
      assert.equal(code, 2);
      assert.deepEqual(
        objects.map(({ prompt, text, finish }: Record<string, string>) => [prompt, text, finish]),
        [["a", "a!", "stop"], ["b", "", "error"], ["c", "c!", "stop"], ["d", "d!", "error"], [
          "e",
          "e!",
          "stop",
        ]],
      );
      assert.match(objects[1].error, /answers 503: overloaded$/);
    }
  });
});

Deno.test("tvllm generate --prompts replaces the escapes in lines with -e, but not in JSON", async () => {
  const asked: string[] = [];
  await listening(async (request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    asked.push((await request.json()).messages[0].content);
    return new Response("data: [DONE]\n\n");
  }, async (address) => {
    const args = ["--endpoint", address, "-q", "--prompts", "-"];
    for (
      const [stdin, expected, ...more] of [
        ["a\\nb\n", "a\nb", "-e"],
        ["a\\nb\n", "a\\nb"],
        [JSON.stringify({ prompt: "a\\nb" }), "a\\nb", "-e"],
      ] as const
    ) {
      assert.equal((await generate([...args, ...more], { stdin })).code, 0);
      assert.equal(asked.pop(), expected);
    }
    const { code, stderr } = await generate([...args, "-e"], { stdin: "a\nb\\xff\n" });
    assert.equal(code, 2);
    assert.match(stderr, /Cannot use \\xff with --escape/);
  });
});

Deno.test("tvllm generate --no-thinking leaves out the thoughts in every form", async () => {
  await listening((request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    const events = [{ reasoning_content: "2 and 2" }, { content: "4." }]
      .map((delta) => `data: ${JSON.stringify({ choices: [{ delta }] })}\n\n`);
    return new Response(`${events.join("")}data: [DONE]\n\n`);
  }, async (address) => {
    const args = ["--endpoint", address, "-q", "--no-thinking"];
    const one = async (...more: string[]) => (await generate([...args, "a", ...more])).stdout;
    const many = async (...more: string[]) =>
      (await generate([...args, "--prompts", "-", ...more], { stdin: "a\n" })).stdout;
    assert.equal(await one(), "4.\n");
    assert.equal(JSON.parse(await one("--json")).text, "4.");
    assert.equal(await many(), "## 1: a\n4.\n");
    assert.equal(JSON.parse(await many("--json"))[0].text, "4.");
    assert.equal(JSON.parse(await many("--jsonl")).text, "4.");
  });
});

Deno.test("model names and errors of a server cannot control the terminal", async () => {
  const escape = "\x1b[2J\x1b]0;title\x07";
  await listening((request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: `m${escape}` }] });
    return new Response(`no${escape}`, { status: 400 });
  }, async (address) => {
    const { code, stderr } = await generate(["--endpoint", address, "hi"]);
    assert.equal(code, 2);
    // deno-lint-ignore no-control-regex -- what must not be there
    assert.doesNotMatch(stderr, /[\x00-\x08\x0b-\x1f\x7f]/);
  });
});

Deno.test({
  name: "chat --endpoint: answers, statistics, and an error that does not end the chat",
  ignore: NO_TERMINAL !== undefined,
  fn: async () => {
    let answers = 0;
    const bodies: { messages: { role: string; content: string }[] }[] = [];
    await listening(async (request) => {
      if (request.method === "GET") {
        return Response.json({ data: [{ id: "big-model", max_model_len: 100 }] });
      }
      bodies.push(await request.json());
      if (++answers === 2) return new Response("overloaded", { status: 503 });
      const chunk = { choices: [{ delta: { content: `Answer ${answers}\x1b[2J` } }] };
      const usage = { choices: [], usage: { prompt_tokens: 5, completion_tokens: 3 } };
      return new Response(
        `data: ${JSON.stringify(chunk)}\n\ndata: ${JSON.stringify(usage)}\n\ndata: [DONE]\n\n`,
      );
    }, async (address) => {
      await using terminal = await PseudoTerminal.open(`sh "$0" generate --endpoint ${address}`);
      await terminal.shows(/big-model answers\. .*\n>/);
      await terminal.type("One\n");
      await terminal.shows(/Answer 1.*\n>$/);
      await terminal.type("Two\n");
      await terminal.shows(/error: .* answers 503: overloaded\n>$/);
      await terminal.type("Three\n");
      await terminal.shows(/Answer 3.*\n>$/);
      await terminal.type("/stats\n");
      await terminal.shows(/context +8 of 100 tokens used\n.*\n +device +http:.*\n>$/);
      // The next answer counts the tokens again. Until then, their number is unknown.
      await terminal.type("/undo\n");
      await terminal.shows(/Removed: Three\n>$/);
      await terminal.type("/stats\n");
      await terminal.shows(/Three\n> \/stats\n.*\n +prefix .*\n +all answers .*\n +device .*\n>$/);
      await terminal.press("C-d");
      const screen = await terminal.ended();
      assert.match(screen, /Answer 1/); // the answer's escape sequence did not clear the screen
      assert.match(screen, /\[exit 0\]$/);
    });
    assert.deepEqual(bodies[2]!.messages.map(({ role }) => role), ["user", "assistant", "user"]);
  },
});

Deno.test("the report of bench does not contain the key of the command line", async () => {
  await withServer(SERVER, ["--api-key", KEY], async ({ address }) => {
    const args = ["latency", "--endpoint", address, "--api-key", KEY, "--contexts", "8", "-r", "1"];
    const { code, stdout, stderr } = await run("sh", [
      ...[LAUNCHER, "bench", ...args],
      ...["--warmup", "0", "-p", "8", "-n", "2", "--requests", "1", "--json"],
    ]);
    assert.equal(code, 0, stderr);
    assert.ok(!stdout.includes(KEY));
    assert.match(JSON.parse(stdout).run.command, /--api-key KEY /);
  });
});
