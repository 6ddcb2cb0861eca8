import { MIN_LEFT_MS } from "../common/backoff.ts";
import { LockLostError } from "../common/errors.ts";
import { isTransient } from "../dynamodb/aws-errors.ts";
import type { Lock } from "../lock/lock.ts";
import { type BatchItem, type BatchRequest, inTime } from "./item.ts";
import { RESPONSE_RESERVE_MS } from "./options.ts";

/** In the end a lock that is settled after `settleMs` is tried for as long as one request takes. */
const LAST_TRY_MS = 1_000;

/**
 * Finishes where the outcome says so, and releases the rest. Lanes are settled side by side, each
 * in its order: after a crash nothing is finished ahead of an earlier record about the same thing,
 * which would run again after it. Nor is anything finished behind a finish of which nobody knows
 * whether it applied. What a lock can't do it reports, and the response tells what the handler did.
 * A DynamoDB that fails when `settleMs` are over, and has answered nothing of late, is not asked any
 * more.
 */
export const settleItems = async (request: BatchRequest, items: readonly BatchItem[]): Promise<void> => {
  const { clock, underWay } = request;
  const left = new Set(items.flatMap(({ lock }) => lock ?? []));
  const { settleTime } = request;
  const { until } = settleTime();
  request.settleTime = () => {
    const own = settleTime();
    return { ...own, until: Math.max(until, Math.min(own.until, clock.monotonic() + LAST_TRY_MS)) };
  };
  let answeredAt = clock.monotonic();
  let isOver = false;
  const settleLane = async (lane: readonly BatchItem[]) => {
    let isBroken = false;
    for (const { lock, outcome, hangs } of lane) {
      const isFinish = outcome === "finish";
      if (!lock || (isBroken && isFinish)) continue;
      if (hangs) {
        isBroken = true;
        continue;
      }
      if (isOver) return;
      await (isFinish ? lock.finish() : lock.release()).then(
        () => {
          answeredAt = clock.monotonic();
        },
        (error: unknown) => {
          isBroken ||= !(error instanceof LockLostError);
          if (!isTransient(error)) answeredAt = clock.monotonic();
          isOver ||= clock.monotonic() + MIN_LEFT_MS >= Math.max(until, answeredAt + LAST_TRY_MS);
        },
      );
      left.delete(lock);
    }
  };
  const lanes = Map.groupBy(items, ({ lane }) => lane).values();
  await Promise.all([
    inTime(request, RESPONSE_RESERVE_MS, lanes, settleLane),
    inTime(request, RESPONSE_RESERVE_MS, underWay, (acquisition) => acquisition),
  ]);
  isOver = true;
  for (const lock of left) if (!isSettled(lock)) lock.abandon("unsettled");
};

export const isSettled = ({ status }: Lock): boolean => status !== "held" && status !== "expired";
