// example: with-lock
import type { EventBridgeEvent } from "aws-lambda";
import { withLock } from "middy-dynamo-lock";

export const handler = withLock(
  async (event: EventBridgeEvent<"OrderPlaced", { orderId: string }>, context) =>
    save(event.detail.orderId, { fence: context.lock.fencingToken }),
  { namespace: "placed-orders", key: (event) => event.id, rememberMs: 16 * 24 * 3_600_000 },
);
