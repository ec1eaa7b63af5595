/** Tells what a model thinks from what it answers, where its template marks thoughts by `<think>`. */

const OPEN = "<think>";
const CLOSE = "</think>";

/** A piece of an answer: its reasoning, and its content. */
export interface ReasonedText {
  readonly reasoning: string;
  readonly content: string;
}

/** Whether models with this template mark their thoughts so. */
export function marksReasoning(template: string | undefined): boolean {
  return template?.includes(CLOSE) === true;
}

/** Whether a prompt ends within thoughts, which the answer then begins with. */
export function endsInThought(promptEnd: string): boolean {
  return promptEnd.trimEnd().endsWith(OPEN);
}

/**
 * Splits an answer as it comes. The marks, and the white space around thoughts, are in neither part.
 */
export class ReasoningSplitter {
  /** Before the first mark; within thoughts; after them. */
  #state: "start" | "thought" | "answer";
  #held = "";
  /** White space at the end of thoughts, which is theirs only if they go on. */
  #space = "";
  #trims = true;

  /** `inThought`: it begins within thoughts. */
  constructor(inThought: boolean) {
    this.#state = inThought ? "thought" : "start";
  }

  push(text: string): ReasonedText {
    this.#held += text;
    let reasoning = "";
    if (this.#state === "start") {
      const begun = this.#held.trimStart();
      if (OPEN.startsWith(begun)) {
        if (begun !== OPEN) return { reasoning, content: "" };
        this.#enter("thought", "");
      } else if (begun.startsWith(OPEN)) this.#enter("thought", begun.slice(OPEN.length));
      else {
        this.#state = "answer";
        this.#trims = false;
      }
    }
    if (this.#state === "thought") {
      const end = this.#held.indexOf(CLOSE);
      if (end < 0) {
        const safe = this.#held.length - openLength(this.#held);
        reasoning = this.#thought(this.#held.slice(0, safe));
        this.#held = this.#held.slice(safe);
        return { reasoning, content: "" };
      }
      reasoning = this.#thought(this.#held.slice(0, end));
      this.#space = "";
      this.#enter("answer", this.#held.slice(end + CLOSE.length));
    }
    const content = this.#trimmed(this.#held);
    this.#held = "";
    return { reasoning, content };
  }

  /** What was held back, as the beginning of a mark, once no text follows. */
  flush(): ReasonedText {
    const held = this.#held;
    this.#held = "";
    return this.#state === "thought"
      ? { reasoning: this.#thought(held), content: "" }
      : { reasoning: "", content: held };
  }

  #enter(state: "thought" | "answer", held: string): void {
    this.#state = state;
    this.#held = held;
    this.#trims = true;
  }

  #thought(text: string): string {
    const whole = this.#space + this.#trimmed(text);
    const kept = whole.trimEnd();
    this.#space = whole.slice(kept.length);
    return kept;
  }

  #trimmed(text: string): string {
    if (!this.#trims) return text;
    const rest = text.trimStart();
    if (rest !== "") this.#trims = false;
    return rest;
  }
}

/** Length of the end of `text` that the closing mark begins with. */
function openLength(text: string): number {
  for (let n = Math.min(CLOSE.length - 1, text.length); n > 0; n--) {
    if (text.endsWith(CLOSE.slice(0, n))) return n;
  }
  return 0;
}
