/** How a response that is too large for its record is stored. */
import { promisify } from "node:util";

/**
 * Largest response that is stored, in bytes after compression: DynamoDB's 400 kB for an item
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html) less room for
 * its key.
 */
export const MAX_RESULT_BYTES = 390_000;

/** Loaded when it is needed: few responses are large. */
const zlib = () => import("node:zlib");

/** @throws RangeError for what is too large even so */
export const compress = async (json: string): Promise<Uint8Array> => {
  const compressed = await promisify((await zlib()).gzip)(json);
  const { length } = compressed;
  if (length <= MAX_RESULT_BYTES) return compressed;
  throw new RangeError(
    `it has ${length} bytes after compression, more than the ${MAX_RESULT_BYTES} that fit in an item`,
  );
};

export const decompress = async (compressed: Uint8Array): Promise<string> =>
  `${await promisify((await zlib()).gunzip)(compressed)}`;
