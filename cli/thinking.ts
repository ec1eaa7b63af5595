/** Separates a reasoning model's thoughts from its answer. */

const BEGIN = "<think>";
const END = "</think>";

/** A part of an answer. */
export interface AnswerPart {
  readonly text: string;
  /** Whether it belongs to the thoughts, which include their marks. */
  readonly thought: boolean;
}

/**
 * Splits an answer that arrives in pieces. Thoughts begin with `<think>` at the start of the
 * answer. A `<think>` after other text is part of the text.
 */
export class Thinking {
  #state: "start" | "thoughts" | "answer";
  /** Text that is held back because it may be the beginning of a mark. */
  #held = "";

  /** @param thinks whether the prompt has already begun the thoughts */
  constructor(thinks: boolean) {
    this.#state = thinks ? "thoughts" : "start";
  }

  /** Returns the parts of the next piece. */
  push(piece: string): AnswerPart[] {
    const text = this.#held + piece;
    this.#held = "";
    switch (this.#state) {
      case "answer":
        return [{ text, thought: false }];
      case "start": {
        const begun = text.trimStart();
        if (BEGIN.startsWith(begun) && begun !== BEGIN) {
          this.#held = text;
          return [];
        }
        this.#state = begun.startsWith(BEGIN) ? "thoughts" : "answer";
        return this.push(text);
      }
      case "thoughts": {
        const at = text.indexOf(END);
        if (at >= 0) {
          this.#state = "answer";
          const end = at + END.length;
          return [{ text: text.slice(0, end), thought: true }, ...this.push(text.slice(end))];
        }
        const held = heldBack(text);
        this.#held = text.slice(held);
        return [{ text: text.slice(0, held), thought: true }];
      }
    }
  }

  /** Returns the text that is still held back at the end of the answer. */
  end(): AnswerPart[] {
    return [{ text: this.#held, thought: this.#state === "thoughts" }];
  }
}

/** Returns a complete answer without its thoughts. `thinks` is as in the constructor. */
export function withoutThoughts(answer: string, thinks: boolean): string {
  const thinking = new Thinking(thinks);
  return [...thinking.push(answer), ...thinking.end()]
    .map(({ text, thought }) => thought ? "" : text).join("").trimStart();
}

/**
 * Returns the index in `text` of a suffix that is the beginning of the end mark; without one, the
 * length.
 */
function heldBack(text: string): number {
  for (let at = Math.max(0, text.length - END.length + 1); at < text.length; at++) {
    if (END.startsWith(text.slice(at))) return at;
  }
  return text.length;
}

/** Whether a prompt ends within thoughts: some templates open them. */
export function endsInThoughts(prompt: string): boolean {
  return prompt.trimEnd().endsWith(BEGIN);
}
