/** Tells a reasoning model's thoughts from its answer. */

const BEGIN = "<think>";
const END = "</think>";

/** A part of an answer. */
export interface AnswerPart {
  readonly text: string;
  /** It belongs to the thoughts, their marks included. */
  readonly thought: boolean;
}

/**
 * Splits an answer that comes in pieces. Thoughts are what `<think>` begins, with nothing before it;
 * what looks like that later on is text.
 */
export class Thinking {
  #state: "start" | "thoughts" | "answer";
  /** What may be the beginning of a mark. */
  #held = "";

  /** `thinks`: the prompt has begun the thoughts. */
  constructor(thinks: boolean) {
    this.#state = thinks ? "thoughts" : "start";
  }

  /** The next piece's parts. */
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

  /** What was held back when the answer ends. */
  end(): AnswerPart[] {
    return [{ text: this.#held, thought: this.#state === "thoughts" }];
  }
}

/** Where a beginning of the end mark begins, or the length. */
function heldBack(text: string): number {
  for (let at = Math.max(0, text.length - END.length + 1); at < text.length; at++) {
    if (END.startsWith(text.slice(at))) return at;
  }
  return text.length;
}

/** Whether a prompt ends within thoughts, as some templates have it. */
export function endsInThoughts(prompt: string): boolean {
  return prompt.trimEnd().endsWith(BEGIN);
}
