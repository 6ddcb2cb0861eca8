/** The same run by each library: take the key, work, finish it with a small JSON response. The key is new each time. */
import { prepare as bare } from "./runs/bare.ts";
import { prepare as lean } from "./runs/lean.ts";
import { prepare as ours } from "./runs/ours.ts";
import { prepare as powertools } from "./runs/powertools.ts";

export const BARE = "the SDK alone: two conditional writes";
export const OURS = "middy-dynamo-lock: `withLock`";
export const LEAN = "middy-dynamo-lock/lean: `withLock`";
export const POWERTOOLS_RUN = "Powertools 2.35.0: `makeIdempotent`";

export const contenders = { [BARE]: bare, [OURS]: ours, [LEAN]: lean, [POWERTOOLS_RUN]: powertools } as const;

/** The files of `bench/runs` by the names of the contenders. */
export const FILES = { [BARE]: "bare", [OURS]: "ours", [LEAN]: "lean", [POWERTOOLS_RUN]: "powertools" } as const;
