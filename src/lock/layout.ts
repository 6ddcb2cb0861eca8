/** Which table, and which names in it: options of what makes a table, and of what works on it. */
import {
  type Contradictions,
  fits,
  hasShape,
  MS_OR_ZERO,
  type Rule,
  type Rules,
  refuse,
  TEXT,
  wordsOf,
} from "../common/rules.ts";
import type { TableLayout } from "../protocol/expression.ts";
import { FIELDS } from "../protocol/fields.ts";
import { DEFAULTS, type TableOptions } from "./options.ts";

export interface AttributeOptions {
  /**
   * Partition key of the table, of type S.
   * @default `lock_id`
   */
  readonly keyAttribute?: string | undefined;
  /**
   * The table's TTL attribute.
   * @default `ttl`
   */
  readonly ttlAttribute?: string | undefined;
}

export interface LayoutOptions extends AttributeOptions {
  /** For a table that has a sort key: its name, and the one value under which all records stand. */
  readonly sortKey?: { readonly attribute: string; readonly value: string | number } | undefined;
  /**
   * How long a record stays in the table after it is over, before TTL deletes it, in ms: at least
   * twice `clockSkewMs`.
   * @default 172_800_000
   */
  readonly retentionMs?: number | undefined;
}

const ATTRIBUTE: Rule = [
  "the name of an attribute that the lock record doesn't have",
  (value) => fits(value, TEXT) && Object.values(FIELDS).every(([attribute]) => attribute !== value),
];

export const ATTRIBUTE_RULES: Rules<AttributeOptions> = { keyAttribute: ATTRIBUTE, ttlAttribute: ATTRIBUTE };

/** The sort key as a table has it, or as a client gives it. */
export const sortKeyRule = (field: string, rule: Rule): Rule => [
  `{ attribute, ${field} } with ${wordsOf(ATTRIBUTE)}, and ${wordsOf(rule)}`,
  (value) => hasShape(value, { attribute: ATTRIBUTE, [field]: rule }),
];

/** A rounded integer would be the sort key of somebody else's items too. */
const SORT_KEY_VALUE: Rule = [
  "a non-empty string of whole characters or an exact number (no integer beyond 2^53 - 1)",
  (value) => fits(value, TEXT) || (Number.isFinite(value) && (Number.isSafeInteger(value) || Number(value) % 1 !== 0)),
];

export const LAYOUT_RULES: Rules<Omit<LayoutOptions, keyof AttributeOptions>> = {
  sortKey: /* @__PURE__ */ sortKeyRule("value", SORT_KEY_VALUE),
  retentionMs: MS_OR_ZERO,
};

export const NAME_CONTRADICTIONS: Contradictions<
  Required<AttributeOptions> & { readonly sortKey?: { readonly attribute: string } | undefined }
> = [
  [
    ({ keyAttribute, ttlAttribute, sortKey }) => new Set([keyAttribute, ttlAttribute, sortKey?.attribute]).size < 3,
    "keyAttribute, ttlAttribute and sortKey must have different names",
  ],
];

/**
 * Without its record a key counts from the clock of who takes it next: by then even a slow one has
 * to be past its last token.
 */
const RETENTION_CONTRADICTIONS: Contradictions<{ readonly retentionMs: number; readonly clockSkewMs: number }> = [
  [
    ({ retentionMs, clockSkewMs }) => retentionMs < 2 * clockSkewMs,
    "retentionMs must be at least twice clockSkewMs, or fencing tokens may decrease",
  ],
];

/** The names with their defaults. */
export const namesOf = (options: AttributeOptions & Pick<TableOptions, "tableName">) => ({
  tableName: options.tableName ?? (process.env.DYNAMO_LOCK_TABLE || DEFAULTS.tableName),
  keyAttribute: options.keyAttribute ?? DEFAULTS.keyAttribute,
  ttlAttribute: options.ttlAttribute ?? DEFAULTS.ttlAttribute,
});

/** Where the records are, by the options of a client. */
export const layoutOf = (options: LayoutOptions & TableOptions): TableLayout => {
  const { sortKey, retentionMs = DEFAULTS.retentionMs } = options;
  return { ...namesOf(options), sortKey, retentionMs };
};

/** Checks what `layoutOf` gives for options that set more than the table's name. */
export const checkLayout = (caller: string, layout: TableLayout, clockSkewMs: number = DEFAULTS.clockSkewMs): void => {
  refuse(caller, layout, NAME_CONTRADICTIONS);
  refuse(caller, { retentionMs: layout.retentionMs, clockSkewMs }, RETENTION_CONTRADICTIONS);
};
