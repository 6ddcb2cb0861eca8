/**
 * DynamoDB's JSON: as the AWS SDK's objects, except that bytes are base64 texts, and moments are
 * seconds
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html).
 */
import type { Item } from "../protocol/item.ts";

/** Buffers have become something else by the time that a replacer is given their value. */
function toBase64(this: Readonly<Record<string, unknown>>, name: string, value: unknown): unknown {
  const given = this[name];
  if (!ArrayBuffer.isView(given)) return value;
  return Buffer.from(given.buffer, given.byteOffset, given.byteLength).toString("base64");
}

export const encode = (input: object): string => JSON.stringify(input, toBase64);

/** @throws SyntaxError */
export const decode = (text: string): Record<string, unknown> => {
  const output = JSON.parse(text) as Record<string, unknown>;
  if (/"BS?"\s*:/.test(text)) for (const item of itemsIn(output)) revive(item);
  if (text.includes('"CreationDateTime"'))
    for (const table of [output.Table, output.TableDescription]) reviveDate(table);
  return output;
};

/** The members of replies that are items, lists of items, or have items within. */
const itemsIn = (output: Readonly<Record<string, unknown>>): Item[] => {
  const {
    Item,
    Attributes,
    LastEvaluatedKey,
    Items = [],
    Responses = {},
    UnprocessedKeys = {},
  } = output as ReplyWithItems;
  const { CancellationReasons = [] } = output as ReplyWithItems;
  const found = [
    Item,
    Attributes,
    LastEvaluatedKey,
    ...Items,
    ...(Array.isArray(Responses) ? Responses.flatMap(itemsOfStatement) : Object.values(Responses).flat()),
    ...Object.values(UnprocessedKeys).flatMap(({ Keys = [] }) => Keys),
    ...CancellationReasons.map((reason) => reason.Item),
  ];
  return found.filter((item) => item !== undefined && item !== null) as Item[];
};

interface ReplyWithItems {
  readonly Item?: Item;
  readonly Attributes?: Item;
  readonly LastEvaluatedKey?: Item;
  readonly Items?: readonly Item[];
  /** Of BatchGetItem: the items of each table; of BatchExecuteStatement: what became of each statement. */
  readonly Responses?: Readonly<Record<string, readonly Item[]>> | readonly StatementReply[];
  readonly UnprocessedKeys?: Readonly<Record<string, { readonly Keys?: readonly Item[] }>>;
  readonly CancellationReasons?: readonly { readonly Item?: Item }[];
}

interface StatementReply {
  readonly Item?: Item;
  readonly Error?: { readonly Item?: Item };
}

const itemsOfStatement = ({ Item, Error: refusal }: StatementReply) => [Item, refusal?.Item];

/** The value of an attribute, whose bytes are to be changed in place. */
interface Value {
  B?: unknown;
  BS?: unknown;
  readonly L?: readonly Value[];
  readonly M?: Readonly<Record<string, Value>>;
}

const revive = (item: object): void => {
  for (const value of Object.values(item) as Value[]) reviveValue(value);
};

const reviveValue = (value: Value): void => {
  if (value.B !== undefined) value.B = fromBase64(value.B as string);
  else if (value.BS) value.BS = (value.BS as string[]).map(fromBase64);
  else if (value.L) value.L.forEach(reviveValue);
  else if (value.M) revive(value.M);
};

/** No Buffer, which prints and compares as something else. */
const fromBase64 = (text: string): Uint8Array => {
  const { buffer, byteOffset, byteLength } = Buffer.from(text, "base64");
  return new Uint8Array(buffer, byteOffset, byteLength);
};

const reviveDate = (table: unknown): void => {
  const { CreationDateTime } = Object(table);
  if (typeof CreationDateTime === "number") {
    Object.assign(table as object, { CreationDateTime: new Date(CreationDateTime * 1_000) });
  }
};
