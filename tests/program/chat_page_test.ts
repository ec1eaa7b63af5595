/** The page of `tvllm serve` at / in a real browser: keyboard, light, dark, phone and desktop. */

import assert from "node:assert/strict";
import { listening, loadServed, makeServer, request } from "../server/served.ts";
import { BrowserPage } from "./browser.ts";
import { lacks, until } from "./run_tvllm.ts";

const STORY = "Once upon a time";
/** A word that does not fit in one line on a phone. */
const LONG_WORD = "x".repeat(80);
/** Elements of the page that contain text to read. */
const READ = "p, th, td, caption, h1, h2, h3, label, summary, button:enabled";
/** Expression for the text of the last answer. */
const LAST = "document.querySelector('#log article:last-child p:last-child')?.textContent ?? ''";

const enter = (page: BrowserPage) => page.press("Enter", 13, { text: "\r" });

function textOf(page: BrowserPage, id: string): Promise<string> {
  return page.evaluate(`document.getElementById("${id}").textContent`);
}

function valueOf(page: BrowserPage, id: string): Promise<string> {
  return page.evaluate(`document.getElementById("${id}").value`);
}

/** Waits for an expression to be true in the page. */
async function eventually(page: BrowserPage, expression: string): Promise<void> {
  await until(
    async () => await page.evaluate<boolean>(`Boolean(${expression})`) || undefined,
    () => `${expression} never becomes true`,
  );
}

/** A response that sends only the given number of events until `open` is settled. */
function held(response: Response, events: number, open: Promise<void>): Response {
  const reader = response.body!.getReader();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      if (events-- <= 0) await open;
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  return new Response(body, response);
}

Deno.test({
  name: "the page of tvllm serve in a browser",
  ignore: lacks("the page of tvllm serve in a browser", "chromium"),
  fn: async (t) => {
    await using model = await loadServed();
    const { server, log } = makeServer();
    server.ready(model);
    const asked: { messages: { role: string; content: string }[] }[] = [];
    /** Number of events of the next answers that are sent before `open` is settled. */
    let events = Infinity;
    let open = Promise.withResolvers<void>();
    const handler = async (incoming: Request) => {
      if (incoming.method !== "POST") return await server.handle(incoming);
      asked.push(await incoming.clone().json());
      return held(await server.handle(incoming), events, open.promise);
    };
    /** Types a message, sends it with Enter, and holds the answer after `most` events. */
    const send = async (page: BrowserPage, message: string, most = Infinity) => {
      events = most;
      open = Promise.withResolvers();
      const before = asked.length;
      await page.type(message);
      await enter(page);
      await until(() => asked.length > before || undefined, () => "Enter sends nothing");
    };
    const done = (page: BrowserPage) =>
      eventually(page, "!document.getElementById('send').disabled");

    await listening(handler, async (address) => {
      await using page = await BrowserPage.open(`${address}/`);
      await page.show(1280);
      const set = (id: string, value: string) =>
        page.evaluate(`document.getElementById("${id}").value = ${JSON.stringify(value)}`);

      await t.step("shows the model's name, and the message has the focus", async () => {
        await eventually(page, "/^stories/.test(document.getElementById('model').textContent)");
        assert.equal(await textOf(page, "model"), "stories, 256 tokens of context");
        assert.equal(await page.evaluate("document.activeElement.id"), "prompt");
      });

      await set("temperature", "0");
      await set("max-tokens", "40");
      const { text } = await model.complete(STORY, { temperature: 0, maxTokens: 40 });
      await t.step("Shift+Enter starts a new line, Enter sends, the answer streams", async () => {
        await page.type("a");
        await page.press("Enter", 13, { shift: true, text: "\r" });
        assert.equal(await valueOf(page, "prompt"), "a\n");
        assert.equal(asked.length, 0);
        await set("prompt", "");
        await send(page, STORY, 3);
        await eventually(page, LAST);
        const part = await page.evaluate<string>(LAST);
        assert.ok(text.startsWith(part) && part.length < text.length, part);
        assert.equal(await textOf(page, "status"), "Answering…");
        assert.equal(await page.evaluate("document.getElementById('log').ariaBusy"), "true");
        open.resolve();
        await done(page);
        assert.equal(await page.evaluate(LAST), text);
        assert.equal(await page.evaluate("document.getElementById('log').ariaBusy"), "false");
        assert.equal(await textOf(page, "status"), "");
        assert.match(await textOf(page, "ttft"), /^\d+ ms$/);
        assert.match(await textOf(page, "rate"), /^\d+\.\d$/);
        assert.equal(await textOf(page, "tokens"), "40");
      });

      let part = "";
      await t.step("Escape stops an answer and keeps its beginning", async () => {
        await send(page, LONG_WORD, 3);
        await eventually(page, LAST);
        await page.evaluate("document.getElementById('log').focus()");
        await page.press("Escape", 27);
        await done(page);
        part = await page.evaluate<string>(LAST);
        assert.equal(await textOf(page, "status"), "Stopped.");
        await until(() => server.open === 0 || undefined, () => "the answer is not cancelled");
        assert.match(log.at(-1)!, /^POST \/v1\/chat\/completions 499 /);
        // The focus of the reader does not move.
        assert.equal(await page.evaluate("document.activeElement.id"), "log");
        await page.click("#prompt");
      });

      await t.step("a message that was stopped before its answer can be sent again", async () => {
        await send(page, "Why?", 0);
        await page.click("#stop");
        await done(page);
        assert.equal(await page.evaluate("document.activeElement.id"), "prompt");
        assert.equal(await valueOf(page, "prompt"), "Why?");
        assert.equal(await page.evaluate("document.querySelectorAll('#log article').length"), 4);
        await send(page, "");
        await done(page);
        assert.deepEqual(asked.at(-1)!.messages, [
          { role: "user", content: STORY },
          { role: "assistant", content: text },
          { role: "user", content: LONG_WORD },
          { role: "assistant", content: part },
          { role: "user", content: "Why?" },
        ]);
      });

      await t.step("the engine's figures are shown while it works", async () => {
        let working = true;
        const body = { prompt: STORY.repeat(8), max_tokens: 100, ignore_eos: true };
        const clients = Array.from({ length: 6 }, async () => {
          while (working) {
            const { status } = await server.handle(request("POST /v1/completions", body));
            assert.equal(status, 200);
          }
        });
        const number = (id: string) => `parseInt(document.getElementById("${id}").textContent)`;
        const ids = ["running", "waiting", "blocks", "hits", "generated"];
        try {
          await eventually(page, ids.map((id) => `${number(id)} > 0`).join(" && "));
        } finally {
          working = false;
          await Promise.all(clients);
        }
        await eventually(page, `${number("running")} === 0 && ${number("waiting")} === 0`);
        const { blocks, prefix, generatedTokens } = model.engine.stats;
        assert.equal(await textOf(page, "blocks"), `0 of ${blocks.budget}`);
        assert.match(await textOf(page, "hits"), new RegExp(`^${prefix.tokensSaved} of \\d+$`));
        assert.equal(await textOf(page, "generated"), `${generatedTokens}`);
      });

      await t.step("everything has a role and a name", async () => {
        await page.call("Accessibility.enable");
        const { nodes } = await page.call("Accessibility.getFullAXTree") as {
          nodes: {
            role?: { value: string };
            name?: { value: string };
            description?: { value: string };
            properties?: { name: string; value: { value: unknown } }[];
          }[];
        };
        const named = nodes.map(({ role, name }) => `${role?.value} ${name?.value ?? ""}`);
        for (
          const expected of [
            ...["heading tvllm", "region Conversation", "log Messages", "textbox Message"],
            ...["button Send", "button Stop", "button New conversation", "region Figures"],
            ...["table Last answer", "table Engine", "rowheader Requests waiting"],
          ]
        ) assert.ok(named.includes(expected), `${expected} is not among ${named.join("; ")}`);
        const message = nodes.find(({ name }) => name?.value === "Message")!;
        assert.match(message.description!.value, /Enter sends.*Escape stops/);
        const nameless = nodes.filter(({ name, role, properties }) =>
          role?.value !== "RootWebArea" && !name?.value &&
          properties?.some(({ name, value }) => name === "focusable" && value.value)
        );
        assert.deepEqual(nameless, []);
      });

      await t.step("the keyboard reaches everything, and the focus is visible", async () => {
        await page.evaluate("document.getElementById('log').focus()");
        const focus = "document.activeElement.id || document.activeElement.tagName";
        const outline = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)";
        const reached = [];
        for (let i = 0; i < 8; i++) {
          await page.press("Tab", 9);
          reached.push(await page.evaluate<string>(focus));
          assert.ok(await page.evaluate<number>(outline) >= 2, `no outline of ${reached.at(-1)}`);
          if (reached.at(-1) === "SUMMARY") await enter(page); // opens the settings
        }
        assert.deepEqual(reached, [
          ...["prompt", "send", "reset", "SUMMARY", "temperature", "max-tokens", "system", "key"],
        ]);
      });

      for (const width of [360, 1280]) {
        for (const dark of [false, true]) {
          await t.step(`${width} pixels wide, ${dark ? "dark" : "light"}`, async () => {
            await page.show(width, { dark });
            for (const part of ["document.documentElement", "document.getElementById('log')"]) {
              const [inner, outer] = await page.evaluate<[number, number]>(
                `[${part}.scrollWidth, ${part}.clientWidth]`,
              );
              assert.ok(inner <= outer && outer <= width, `${part}: ${inner} in ${outer} pixels`);
            }
            assert.deepEqual(await page.faintTexts(READ), []);
          });
        }
      }

      await t.step("has sent no requests elsewhere, and reported no errors", () => {
        assert.deepEqual(page.complaints, []);
      });

      await t.step("shows why the server refuses a message, and keeps the message", async () => {
        await set("system", "word ".repeat(400));
        await page.evaluate("document.getElementById('prompt').focus()");
        await send(page, "How?");
        await done(page);
        assert.match(await textOf(page, "status"), /^Cannot answer a prompt of \d+ tokens/);
        assert.equal(await valueOf(page, "prompt"), "How?");
        await set("system", "");
      });

      await t.step(
        "New conversation clears the messages, and cancels the current answer",
        async () => {
          await send(page, "", 3);
          await eventually(page, LAST);
          await page.click("#reset");
          assert.equal(await textOf(page, "log"), "");
          assert.equal(await page.evaluate("document.activeElement.id"), "prompt");
          await send(page, STORY);
          await done(page);
          assert.equal(await page.evaluate(LAST), text);
          assert.deepEqual(asked.at(-1)!.messages, [{ role: "user", content: STORY }]);
        },
      );
    });
    await until(() => server.open === 0 || undefined, () => "an answer is still running");
  },
});

Deno.test({
  name: "the page of tvllm serve asks for a key, shows reasoning, and reports a lost server",
  ignore: lacks("the page of tvllm serve with a key", "chromium"),
  fn: async () => {
    await using model = await loadServed();
    const { server } = makeServer({ apiKey: "secret" });
    server.ready(model);
    const deltas = [{ reasoning_content: "Let me " }, { reasoning_content: "think" }, {
      content: "No.",
    }];
    const answer = deltas.map((delta) => `data: ${JSON.stringify({ choices: [{ delta }] })}\n\n`);
    const handler = async (incoming: Request) =>
      incoming.method === "POST"
        ? new Response(answer.join(""), { headers: { "content-type": "text/event-stream" } })
        : await server.handle(incoming);
    await listening(handler, async (address) => {
      await using page = await BrowserPage.open(`${address}/`);
      await eventually(page, "document.getElementById('settings').open");
      assert.match(await textOf(page, "model"), /^Cannot answer without an API key/);
      await page.click("#key");
      await page.type("secret");
      await eventually(page, "document.getElementById('running').textContent === '0'");
      assert.match(await textOf(page, "model"), /^stories/);

      await page.click("#prompt");
      await page.type("Is it so?");
      await enter(page);
      await eventually(page, `${LAST} === "No."`);
      const thought = "document.querySelector('#log .reasoning').textContent";
      assert.equal(await page.evaluate(thought), "Let me think");

      const offline = { offline: true, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
      await page.call("Network.emulateNetworkConditions", offline);
      await eventually(page, "document.getElementById('running').textContent === '–'");
      assert.equal(await textOf(page, "model"), "The server does not answer.");
    });
  },
});
