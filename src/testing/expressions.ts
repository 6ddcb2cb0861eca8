/** The expressions of one request, parsed and checked. */
import { type Condition, parseCondition } from "./condition.ts";
import { Aliases, Cursor, type DocumentPath, type ExpressionKind } from "./cursor.ts";
import { invalid } from "./errors.ts";
import { type KeyTest, parseKeyCondition } from "./key-condition.ts";
import { parseProjection } from "./paths.ts";
import { type AttributeChange, parseUpdate } from "./update.ts";

/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html */
const MAX_EXPRESSION_BYTES = 4096;

/** The parameters of a request that have to do with expressions. */
export type ExpressionInput = { readonly [Kind in ExpressionKind]?: string } & {
  readonly ExpressionAttributeNames?: Readonly<Record<string, string>>;
  readonly ExpressionAttributeValues?: Readonly<Record<string, unknown>>;
};

interface Parsed {
  readonly ConditionExpression: Condition;
  readonly FilterExpression: Condition;
  readonly KeyConditionExpression: readonly KeyTest[];
  readonly ProjectionExpression: readonly DocumentPath[];
  readonly UpdateExpression: readonly AttributeChange[];
}

const PARSERS: { readonly [Kind in ExpressionKind]: (cursor: Cursor) => Parsed[Kind] } = {
  ConditionExpression: parseCondition,
  FilterExpression: parseCondition,
  KeyConditionExpression: parseKeyCondition,
  ProjectionExpression: parseProjection,
  UpdateExpression: parseUpdate,
};

const PLACEHOLDERS = ["ExpressionAttributeNames", "ExpressionAttributeValues"] as const;

/** Parses the expressions that an operation takes, of those that the request has. */
export const parseExpressions = <Kind extends ExpressionKind>(
  input: ExpressionInput,
  ...kinds: readonly Kind[]
): { readonly [Each in Kind]?: Parsed[Each] } => {
  const given = kinds.filter((kind) => input[kind] !== undefined);
  for (const placeholder of PLACEHOLDERS) {
    if (!input[placeholder]) continue;
    if (given.length === 0) {
      const are = kinds.length === 1 ? "is" : "are";
      throw invalid(`${placeholder} can only be specified when using expressions: ${kinds.join(" and ")} ${are} null`);
    }
    if (Object.keys(input[placeholder]).length === 0) throw invalid(`${placeholder} must not be empty`);
  }
  const aliases = new Aliases(input.ExpressionAttributeNames, input.ExpressionAttributeValues);
  const parsed: { [Each in ExpressionKind]?: unknown } = {};
  for (const kind of given) {
    const text = input[kind] as string;
    const cursor = new Cursor(kind, text, aliases);
    if (Buffer.byteLength(text) > MAX_EXPRESSION_BYTES) {
      const size = Buffer.byteLength(text);
      throw cursor.error(`Expression size has exceeded the maximum allowed size; expression size: ${size}`);
    }
    parsed[kind] = PARSERS[kind](cursor);
  }
  aliases.checkUsed();
  return parsed as { readonly [Each in Kind]?: Parsed[Each] };
};
