/** Separates a model's thoughts from its answer, if its template marks thoughts with `<think>`. */

const OPEN = "<think>";
const CLOSE = "</think>";

/** A piece of an answer: its reasoning, and its content. */
export interface ReasonedText {
  readonly reasoning: string;
  readonly content: string;
}

/** Whether models with this template mark their thoughts. */
export function marksReasoning(template: string | undefined): boolean {
  return template?.includes(CLOSE) === true;
}

/** Whether a prompt ends within thoughts, so that the answer begins with them. */
export function endsInThought(promptEnd: string): boolean {
  return promptEnd.trimEnd().endsWith(OPEN);
}

/**
 * Splits an answer as it arrives. The marks, and the white space around thoughts, are in neither
 * part.
 */
export class ReasoningSplitter {
  /** "start": before the first mark; "thought": within thoughts; "answer": after them. */
  #state: "start" | "thought" | "answer";
  /** Text that is held back because it may be the beginning of a mark. */
  #held = "";
  /** White space after the thoughts so far. It is dropped unless further thoughts follow. */
  #space = "";
  /** Whether white space is dropped until other text follows. */
  #trims = true;

  /** @param inThought whether the answer begins within thoughts */
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

  /** Returns the text that is still held back at the end of the answer. */
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

/** Returns the length of the suffix of `text` that may be the beginning of the closing mark. */
function openLength(text: string): number {
  for (let n = Math.min(CLOSE.length - 1, text.length); n > 0; n--) {
    if (text.endsWith(CLOSE.slice(0, n))) return n;
  }
  return 0;
}
