/** Reads an expression token by token, with the names and values that stand for its parts. */
import type { AttributeValue, Item } from "../protocol/item.ts";
import { invalid, type MemoryFailure } from "./errors.ts";
import { isReserved } from "./reserved-words.ts";
import { toValue } from "./values.ts";

/** An attribute, or a part of one: names of members, and indexes of lists. */
export type DocumentPath = readonly (string | number)[];

/** The parameters of a request that hold expressions. */
export type ExpressionKind =
  | "ConditionExpression"
  | "FilterExpression"
  | "KeyConditionExpression"
  | "ProjectionExpression"
  | "UpdateExpression";

interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const TOKEN = /\s+|([a-z]\w*|[#:]\w+|\d+|<=|>=|<>|.)/gis;
const NAME = /^[a-z]\w*$/i;

/** What expressions of one request share: aliases, and which of them are used. */
export class Aliases {
  readonly #names: Readonly<Record<string, string>>;
  readonly #values: Item;
  readonly #used = new Set<string>();

  constructor(names: Readonly<Record<string, string>> = {}, values: Readonly<Record<string, unknown>> = {}) {
    for (const [alias, name] of Object.entries(names)) {
      if (!/^#\w+$/.test(alias))
        throw invalid(`ExpressionAttributeNames contains invalid key: Syntax error; key: "${alias}"`);
      if (name === "")
        throw invalid(`ExpressionAttributeNames contains invalid value: Empty attribute name for key ${alias}`);
    }
    this.#names = names;
    this.#values = Object.fromEntries(Object.entries(values).map(([alias, value]) => [alias, readValue(alias, value)]));
  }

  name(alias: string): string | undefined {
    this.#used.add(alias);
    return this.#names[alias];
  }

  value(alias: string): AttributeValue | undefined {
    this.#used.add(alias);
    return this.#values[alias];
  }

  /** DynamoDB rejects what no expression mentions. */
  checkUsed(): void {
    for (const [parameter, aliases] of Object.entries({
      ExpressionAttributeNames: this.#names,
      ExpressionAttributeValues: this.#values,
    })) {
      const unused = Object.keys(aliases).filter((alias) => !this.#used.has(alias));
      if (unused.length > 0)
        throw invalid(`Value provided in ${parameter} unused in expressions: keys: {${unused.join(", ")}}`);
    }
  }
}

const readValue = (alias: string, value: unknown): AttributeValue => {
  if (!/^:\w+$/.test(alias))
    throw invalid(`ExpressionAttributeValues contains invalid key: Syntax error; key: "${alias}"`);
  try {
    return toValue(value);
  } catch (error) {
    const { name, message } = error as MemoryFailure;
    if (name !== "ValidationException") throw error;
    throw invalid(`ExpressionAttributeValues contains invalid value: ${message} for key ${alias}`);
  }
};

export class Cursor {
  readonly kind: ExpressionKind;
  readonly #source: string;
  readonly #aliases: Aliases;
  readonly #tokens: readonly Token[];
  #at = 0;
  /** Where the last pair of parentheses stood. */
  lastGroup: readonly [start: number, end: number] = [-1, -1];

  constructor(kind: ExpressionKind, source: string, aliases: Aliases) {
    this.kind = kind;
    this.#source = source;
    this.#aliases = aliases;
    this.#tokens = [...source.matchAll(TOKEN)]
      .filter(([, text]) => text !== undefined)
      .map(({ 1: text = "", index }) => ({ text, start: index, end: index + text.length }));
    if (this.#tokens.length === 0) throw this.error("The expression can not be empty;");
  }

  error(what: string): MemoryFailure {
    return invalid(`Invalid ${this.kind}: ${what}`);
  }

  syntaxError(): MemoryFailure {
    const [last, next] = [this.#tokens[this.#at - 1], this.#tokens[this.#at + 1]];
    const token = this.#tokens[this.#at];
    const near = this.#source.slice((last ?? token)?.start, (next ?? token ?? last)?.end);
    return this.error(`Syntax error; token: "${token?.text ?? "<EOF>"}", near: "${near}"`);
  }

  get position(): number {
    return this.#at;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#tokens.length;
  }

  /** The token that comes next, or one after it. */
  peek(ahead = 0): string | undefined {
    return this.#tokens[this.#at + ahead]?.text;
  }

  /** Goes past the next token if it is this one. Keywords may be written in any case. */
  take(expected: string): boolean {
    const isNext = this.peek()?.toUpperCase() === expected;
    if (isNext) this.#at++;
    return isNext;
  }

  need(...expected: readonly string[]): void {
    for (const token of expected) if (!this.take(token)) throw this.syntaxError();
  }

  next(): string {
    const token = this.peek();
    if (token === undefined) throw this.syntaxError();
    this.#at++;
    return token;
  }

  end(): void {
    if (!this.isAtEnd) throw this.syntaxError();
  }

  /** The name of the function whose call comes next. */
  peekCall(): string | undefined {
    const name = this.peek() ?? "";
    return NAME.test(name) && this.peek(1) === "(" && !/^(and|or|not|in|between)$/i.test(name) ? name : undefined;
  }

  path(): DocumentPath {
    const path: (string | number)[] = [this.#attribute()];
    for (;;) {
      if (this.take(".")) path.push(this.#attribute());
      else if (this.take("[")) {
        if (!/^\d+$/.test(this.peek() ?? "")) throw this.syntaxError();
        path.push(Number(this.next()));
        this.need("]");
      } else return path;
    }
  }

  #attribute(): string {
    const token = this.peek() ?? "";
    if (token.length > 1 && token.startsWith("#")) {
      this.#at++;
      const name = this.#aliases.name(token);
      if (name !== undefined) return name;
      throw this.error(
        `An expression attribute name used in the document path is not defined; attribute name: ${token}`,
      );
    }
    if (!NAME.test(token)) throw this.syntaxError();
    if (isReserved(token)) throw this.error(`Attribute name is a reserved keyword; reserved keyword: ${token}`);
    this.#at++;
    return token;
  }

  /** The value that comes next, if one does. */
  value(): AttributeValue | undefined {
    const token = this.peek() ?? "";
    if (!/^:\w/.test(token)) return undefined;
    this.#at++;
    const value = this.#aliases.value(token);
    if (value) return value;
    throw this.error(`An expression attribute value used in expression is not defined; attribute value: ${token}`);
  }
}
