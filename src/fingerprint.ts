import { createHash } from "node:crypto";
import { LockOptionsError } from "./errors.ts";
import type { LockRecord } from "./record.ts";
import { findUnstorable } from "./result.ts";

/**
 * SHA-256 of the canonical JSON of a payload (RFC 8785: keys sorted, no white space), in base64url: the same for the same
 * content, in whatever order its properties come.
 */
export const toFingerprint = (payload: unknown): string => {
  const found = payload === undefined ? undefined : findUnstorable(payload);
  if (found) throw new LockOptionsError(`fingerprint must be of a JSON value, but ${found}`);
  return createHash("sha256").update(canonicalJson(payload)).digest("base64url");
};

/** The record that was taken with another payload. */
export const findMismatch = (
  fingerprint: string | undefined,
  records: readonly LockRecord[],
): LockRecord | undefined =>
  fingerprint === undefined
    ? undefined
    : records.find((record) => record.fingerprint !== undefined && record.fingerprint !== fingerprint);

const canonicalJson = (value: unknown): string => {
  if (value === undefined) return "";
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1)) // by UTF-16 code units, as the RFC has it
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
  return `{${members.join(",")}}`;
};
