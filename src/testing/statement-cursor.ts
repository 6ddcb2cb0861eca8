/**
 * Reads a statement of PartiQL token by token
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html).
 */
import type { AttributeValue } from "../protocol/item.ts";
import type { DocumentPath } from "./cursor.ts";
import { invalid, type MemoryFailure } from "./errors.ts";
import { toValue } from "./values.ts";

const TOKEN = /\s+|('(?:[^']|'')*'|"(?:[^"]|"")*"|[a-z_]\w*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|<<|>>|<=|>=|<>|!=|.)/gis;

export class StatementCursor {
  readonly #statement: string;
  readonly #parameters: readonly unknown[];
  readonly #tokens: readonly string[];
  #at = 0;
  #used = 0;

  constructor(statement: string, parameters: readonly unknown[] = []) {
    this.#statement = statement;
    this.#parameters = parameters;
    this.#tokens = [...statement.matchAll(TOKEN)].flatMap(([, token]) => token ?? []);
  }

  error(): MemoryFailure {
    return invalid(`Statement wasn't well formed, can't be processed: ${this.#statement}`);
  }

  peek(ahead = 0): string {
    return this.#tokens[this.#at + ahead] ?? "";
  }

  /** Goes past these tokens if they come next. Keywords may be written in any case. */
  take(...expected: readonly string[]): boolean {
    const areNext = expected.every((token, index) => this.peek(index).toUpperCase() === token);
    if (areNext) this.#at += expected.length;
    return areNext;
  }

  need(...expected: readonly string[]): void {
    if (!this.take(...expected)) throw this.error();
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw this.error();
  }

  /** A name, with or without quotes. */
  name(): string {
    const token = this.peek();
    this.#at++;
    if (/^[a-z_]/i.test(token)) return token;
    if (token.startsWith('"') && token.length > 2) return token.slice(1, -1).replaceAll('""', '"');
    throw this.error();
  }

  path(): DocumentPath {
    const path: (string | number)[] = [this.name()];
    for (;;) {
      if (this.take(".")) path.push(this.name());
      else if (this.take("[")) {
        if (!/^\d+$/.test(this.peek())) throw this.error();
        path.push(Number(this.peek()));
        this.#at++;
        this.need("]");
      } else return path;
    }
  }

  /**
   * A parameter or a literal, if one comes next. DynamoDB takes parameters only where they stand
   * for a whole value.
   */
  value(depth = 0): AttributeValue | undefined {
    const token = this.peek();
    if (token === "?") return this.#parameter(depth);
    const literal = literalOf(token);
    if (literal) {
      this.#at++;
      return literal;
    }
    if (this.take("-")) return toValue({ N: `-${this.value(depth)?.N}` });
    if (this.take("[")) return { L: this.list("]", () => this.#member(depth)) };
    if (this.take("{")) return { M: Object.fromEntries(this.members((name) => [name, this.#member(depth)])) };
    return undefined;
  }

  #parameter(depth: number): AttributeValue {
    if (depth > 0) throw invalid("Unsupported data type: Parameter within a list or a map");
    this.#at++;
    const parameter = this.#parameters[this.#used++];
    if (parameter !== undefined) return toValue(parameter);
    throw invalid("Number of parameters in request and statement don't match.");
  }

  #member(depth: number): AttributeValue {
    const value = this.value(depth + 1);
    if (value) return value;
    throw this.error();
  }

  list<T>(end: string, read: () => T): T[] {
    const elements: T[] = [];
    if (this.take(end)) return elements;
    do elements.push(read());
    while (this.take(","));
    this.need(end);
    return elements;
  }

  /** The members of a map, whose brace has been read. */
  members<T>(read: (name: string) => T): T[] {
    return this.list("}", () => {
      const name = literalOf(this.peek())?.S;
      if (!name) throw this.error();
      this.#at++;
      this.need(":");
      return read(name);
    });
  }
}

const literalOf = (token: string): AttributeValue | undefined => {
  if (token.startsWith("'")) return { S: token.slice(1, -1).replaceAll("''", "'") };
  if (/^\d/.test(token)) return toValue({ N: token });
  if (/^(true|false)$/i.test(token)) return { BOOL: token.toLowerCase() === "true" };
  return /^null$/i.test(token) ? { NULL: true } : undefined;
};
