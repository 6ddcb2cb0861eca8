/** Decides where a response stands: in the record while that stays small, or in an item beside it. */
import { compress } from "../dynamodb/compress.ts";
import type { TableLayout } from "../protocol/expression.ts";

/** Names, numbers and status of an item, in bytes at most. */
const FIXED_BYTES = 200;
/**
 * The largest record that has its response within it. A write costs one unit per kB, also a refused
 * one (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html):
 * a repeat costs 4 units at most, and a run is two requests.
 */
const RECORD_BYTES = 4_096;
/** A record that is not larger costs one unit however it is stored: its response is not compressed. */
const PLAIN_BYTES = 1_024;

/** A response as it is stored. */
export type Placed =
  | { readonly result: string | Uint8Array | null }
  /** Too large for the record: for an item of its own. */
  | { readonly beside: Uint8Array };

/**
 * Bytes that a record has left for its response, as DynamoDB counts them
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
 */
export const roomIn = (layout: TableLayout, texts: readonly (string | undefined)[]): number => {
  const { keyAttribute, ttlAttribute, sortKey } = layout;
  const names = [keyAttribute, ttlAttribute, sortKey?.attribute, sortKey?.value];
  return RECORD_BYTES - FIXED_BYTES - Buffer.byteLength([...texts, ...names].join(""));
};

/**
 * A small response stays in the record, compressed where that is smaller.
 *
 * @throws RangeError for what is too large for an item.
 */
export const placeResponse = async (json: string | undefined, room: number): Promise<Placed> => {
  if (json === undefined) return { result: null };
  const plain = Buffer.byteLength(json);
  if (plain <= room - (RECORD_BYTES - PLAIN_BYTES)) return { result: json };
  const packed = await compress(json);
  const isSmaller = packed.length < plain;
  return (isSmaller ? packed.length : plain) <= room ? { result: isSmaller ? packed : json } : { beside: packed };
};
