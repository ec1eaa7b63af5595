// The script of the page, for browsers: a chat over /v1/chat/completions, and figures from
// /metrics.

const element = (id) => document.getElementById(id);
/** The messages so far. "New conversation" replaces the array. */
let conversation = [];
/** The name of the served model; "" until the server has sent it. */
let model = "";
/** Aborts the current answer; undefined if there is none. */
let answering;

function headers() {
  const key = element("key").value;
  return { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
}

/** Sends a request to the server. If it fails, throws an error with the server's message. */
async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer.");
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => undefined);
  const { status, statusText } = response;
  throw Object.assign(new Error(body?.error?.message ?? `${status} ${statusText}`), { status });
}

/** Changes the log, and scrolls to its end unless the reader has scrolled up. */
function changeLog(change) {
  const log = element("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change(log);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function addParagraph(article, text, className = "") {
  const paragraph = document.createElement("p");
  paragraph.className = className;
  paragraph.textContent = text;
  article.append(paragraph);
  return paragraph;
}

/** Adds an article for a message of `speaker`. */
function addArticle(speaker) {
  const article = document.createElement("article");
  const heading = document.createElement("h3");
  heading.textContent = speaker;
  article.append(heading);
  changeLog((log) => log.append(article));
  return article;
}

/** Yields the parsed data of each event in a response. */
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

function requestBody(messages) {
  const system = element("system").value;
  const temperature = element("temperature").value;
  return {
    ...(model !== "" && { model }),
    messages: [...(system ? [{ role: "system", content: system }] : []), ...messages],
    max_tokens: Number(element("max-tokens").value || 512),
    ...(temperature !== "" && { temperature: Number(temperature) }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** Counts the tokens of an answer, and shows their times. */
class AnswerFigures {
  #asked = performance.now();
  #first = 0;
  #tokens = 0;

  constructor() {
    for (const id of ["ttft", "rate", "tokens"]) element(id).textContent = "–";
  }

  token() {
    const now = performance.now();
    if (this.#tokens++ === 0) this.#first = now;
    element("ttft").textContent = `${(this.#first - this.#asked).toFixed(0)} ms`;
    element("tokens").textContent = String(this.#tokens);
    if (now > this.#first) {
      element("rate").textContent = ((this.#tokens - 1) * 1000 / (now - this.#first)).toFixed(1);
    }
  }
}

/** Requests the answer to the messages, and appends its text to `article` and `answered`. */
async function answer(messages, article, answered) {
  const figures = new AnswerFigures();
  const response = await ask("v1/chat/completions", {
    method: "POST",
    body: JSON.stringify(requestBody(messages)),
    signal: answering.signal,
  });
  let reasoning;
  let content;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    const delta = event.choices[0]?.delta;
    if (!delta) continue;
    figures.token();
    changeLog(() => {
      if (delta.reasoning_content) {
        reasoning ??= addParagraph(article, "", "reasoning");
        reasoning.textContent += delta.reasoning_content;
      }
      if (delta.content) {
        content ??= addParagraph(article, "");
        content.textContent = answered.content += delta.content;
      }
    });
  }
}

async function send() {
  const prompt = element("prompt");
  const text = prompt.value.trim();
  if (text === "" || answering) return;
  const messages = conversation;
  const articles = [addArticle("You"), addArticle("Model")];
  addParagraph(articles[0], text);
  element("log").scrollTop = element("log").scrollHeight;
  const answered = { role: "assistant", content: "" };
  const asked = { role: "user", content: text };
  prompt.value = "";
  const stop = answering = new AbortController();
  let status = "";
  showAnswering(true);
  try {
    await answer([...messages, asked], articles[1], answered);
  } catch (error) {
    status = error.name === "AbortError" ? "Stopped." : error.message;
  }
  // "New conversation" was pressed meanwhile.
  if (answering !== stop) return;
  answering = undefined;
  // Move the focus back to the prompt only if it is not elsewhere, such as on a setting. Disabling
  // a button removes the focus from it, so look before that.
  const isFree = ["prompt", "send", "stop", ""].includes(document.activeElement.id);
  showAnswering(false, status);
  if (articles[1].querySelector("p") === null) {
    // There is no answer: put the message back, so that it can be sent again.
    for (const article of articles) article.remove();
    if (prompt.value === "") prompt.value = text;
  } else {
    messages.push(asked, answered);
  }
  if (isFree) prompt.focus();
}

/**
 * Updates the page at the start and end of an answer. Screen readers read the answer at its end.
 */
function showAnswering(is, status = "Answering…") {
  element("send").disabled = is;
  element("stop").disabled = !is;
  element("log").setAttribute("aria-busy", String(is));
  element("status").textContent = status;
}

function reset() {
  answering?.abort();
  answering = undefined;
  conversation = [];
  element("log").replaceChildren();
  showAnswering(false, "New conversation.");
  element("prompt").focus();
}

/** Parses Prometheus' text format; returns the values by name, of samples without labels. */
function parseMetrics(text) {
  return Object.fromEntries(
    text.split("\n").filter((line) => /^[\w:]+ /.test(line)).map((line) => line.split(" ")),
  );
}

const FIGURES = {
  running: (metrics) => metrics["vllm:num_requests_running"],
  waiting: (metrics) => metrics["vllm:num_requests_waiting"],
  blocks: (metrics) => `${metrics["tvllm:kv_blocks_used"]} of ${metrics["tvllm:kv_blocks_budget"]}`,
  hits: (metrics) =>
    `${metrics["vllm:prefix_cache_hits_total"]} of ${metrics["vllm:prefix_cache_queries_total"]}`,
  generated: (metrics) => metrics["llamacpp:tokens_predicted_total"],
};

/** Shows the model and the engine's figures; if the server does not answer, the error. */
async function refresh() {
  if (document.visibilityState === "hidden") return;
  let figure = () => "–";
  try {
    if (model === "") {
      const { data: [served] } = await (await ask("v1/models")).json();
      model = served.id;
      element("model").textContent = `${model}, ${served.max_model_len} tokens of context`;
    }
    const metrics = parseMetrics(await (await ask("metrics")).text());
    figure = (id) => FIGURES[id](metrics);
  } catch (error) {
    // The server may have another model when it answers again.
    model = "";
    if (element("model").textContent !== error.message) {
      element("model").textContent = error.message;
      // The settings contain the field for the API key.
      if (error.status === 401) element("settings").open = true;
    }
  }
  for (const id of Object.keys(FIGURES)) element(id).textContent = figure(id);
}

/** Refreshes once a second, one refresh at a time. */
async function keepRefreshing() {
  await refresh();
  setTimeout(keepRefreshing, 1000);
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
keepRefreshing();
