import { LockLostError } from "../common/errors.ts";
import type { Lock } from "../lock/lock.ts";
import { type BatchItem, type BatchRequest, inTime } from "./item.ts";
import { RESPONSE_RESERVE_MS } from "./options.ts";
import { Patience } from "./patience.ts";

/**
 * Finishes where the outcome says so, and releases the rest. Lanes are settled side by side, each
 * in its order: after a crash nothing is finished ahead of an earlier record about the same thing,
 * which would run again after it. Nor is anything finished behind a finish of which nobody knows
 * whether it applied. What a lock can't do it reports, and the response tells what the handler did.
 */
export const settleItems = async (request: BatchRequest, items: readonly BatchItem[]): Promise<void> => {
  const left = new Set(items.flatMap(({ lock }) => lock ?? []));
  const patience = new Patience();
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
      if (isOver || patience.isOver) return;
      await (isFinish ? lock.finish() : lock.release()).then(
        () => patience.answered(),
        (error: unknown) => {
          patience.failed(error);
          isBroken ||= !(error instanceof LockLostError);
        },
      );
      left.delete(lock);
    }
  };
  await inTime(request, RESPONSE_RESERVE_MS, Map.groupBy(items, ({ lane }) => lane).values(), settleLane);
  isOver = true;
  for (const lock of left) if (!isSettled(lock)) lock.abandon("unsettled");
};

export const isSettled = ({ status }: Lock): boolean => status !== "held" && status !== "expired";
