// The page's script, as browsers run it: a chat over /v1/chat/completions, and figures from /metrics.

const element = (id) => document.getElementById(id);
const messages = [];
let model = "";
let answering;

function headers() {
  const key = element("key").value;
  return { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
}

/** Asks the server; throws its own words where it refuses. */
async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  if (response.ok) return response;
  const body = await response.json().catch(() => undefined);
  throw new Error(body?.error?.message ?? `${response.status} ${response.statusText}`);
}

function show(role, text) {
  const article = document.createElement("article");
  const heading = document.createElement("h3");
  heading.textContent = role;
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  article.append(heading, paragraph);
  element("log").append(article);
  element("log").scrollTop = element("log").scrollHeight;
  return paragraph;
}

/** The data of each event of a response, parsed. */
async function* events(response) {
  let open = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (open + value).split("\n");
    open = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      yield JSON.parse(line.slice("data: ".length));
    }
  }
}

function requestBody() {
  const system = element("system").value;
  const temperature = element("temperature").value;
  return {
    model,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...messages],
    max_tokens: Number(element("max-tokens").value || 512),
    ...(temperature !== "" && { temperature: Number(temperature) }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

async function answer() {
  const article = show("Model", "");
  let reasoning;
  let first;
  let tokens = 0;
  const started = performance.now();
  const response = await ask("v1/chat/completions", {
    method: "POST",
    body: JSON.stringify(requestBody()),
    signal: answering.signal,
  });
  let text = "";
  try {
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      const delta = event.choices[0]?.delta;
      if (!delta) {
        tokens = event.usage.completion_tokens;
        continue;
      }
      tokens++;
      first ??= performance.now();
      if (delta.reasoning_content) {
        if (!reasoning) {
          reasoning = document.createElement("p");
          reasoning.className = "reasoning";
          article.before(reasoning);
        }
        reasoning.textContent += delta.reasoning_content;
      }
      if (delta.content) article.textContent = text += delta.content;
      element("log").scrollTop = element("log").scrollHeight;
      const seconds = (performance.now() - first) / 1000;
      element("ttft").textContent = `${(first - started).toFixed(0)} ms`;
      element("tokens").textContent = String(tokens);
      if (tokens > 1) element("rate").textContent = ((tokens - 1) / seconds).toFixed(1);
    }
  } finally {
    messages.push({ role: "assistant", content: text });
  }
}

async function send() {
  const prompt = element("prompt");
  const text = prompt.value.trim();
  if (text === "" || answering) return;
  prompt.value = "";
  messages.push({ role: "user", content: text });
  show("You", text);
  answering = new AbortController();
  element("stop").disabled = false;
  element("send").disabled = true;
  element("log").setAttribute("aria-busy", "true");
  element("status").textContent = "Answering…";
  try {
    await answer();
    element("status").textContent = "";
  } catch (error) {
    element("status").textContent = error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    answering = undefined;
    element("stop").disabled = true;
    element("send").disabled = false;
    element("log").removeAttribute("aria-busy");
    prompt.focus();
  }
}

function reset() {
  answering?.abort();
  messages.length = 0;
  element("log").replaceChildren();
  element("status").textContent = "The conversation is forgotten.";
  element("prompt").focus();
}

/** The samples of Prometheus' text format by name. */
function parseMetrics(text) {
  return Object.fromEntries(
    text.split("\n").filter((line) => /^[\w:]+ /.test(line)).map((line) => line.split(" ")),
  );
}

async function refresh() {
  if (document.visibilityState === "hidden") return;
  try {
    if (model === "") {
      const { data: [served] } = await (await ask("v1/models")).json();
      model = served.id;
      element("model").textContent = `${model}, ${served.max_model_len} tokens of context`;
    }
    const metrics = parseMetrics(await (await ask("metrics")).text());
    element("running").textContent = metrics["vllm:num_requests_running"];
    element("waiting").textContent = metrics["vllm:num_requests_waiting"];
    element("blocks").textContent = `${metrics["tvllm:kv_blocks_used"]} of ${
      metrics["tvllm:kv_blocks_budget"]
    }`;
    element("hits").textContent = metrics["vllm:prefix_cache_hits_total"];
    element("generated").textContent = metrics["llamacpp:tokens_predicted_total"];
  } catch (error) {
    if (model === "") element("model").textContent = error.message;
  }
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
element("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") answering?.abort();
});
element("stop").addEventListener("click", () => answering?.abort());
element("reset").addEventListener("click", reset);
refresh();
setInterval(refresh, 1000);
