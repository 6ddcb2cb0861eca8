// example: two-locks
import middy from "@middy/core";
import type { EventBridgeEvent } from "aws-lambda";
import { dynamoLock, type Lock } from "middy-dynamo-lock";

type SyncDue = EventBridgeEvent<"SyncDue", { tenant: string }>;

export const handler = middy<SyncDue>()
  .use(dynamoLock<SyncDue>({ key: ({ detail }) => detail.tenant, onSuccess: "release" })) // one at a time of a tenant
  .use({
    before: ({ context }) => {
      Object.assign(context, { tenantLock: context.lock });
    },
  })
  .use(dynamoLock<SyncDue>({ key: ({ id }) => id, rememberMs: 48 * 3_600_000 })) // once for each event
  .handler(async ({ detail }, context) => {
    const { lock, tenantLock } = context as typeof context & { tenantLock: Lock };
    await syncTenant(detail.tenant, { signal: AbortSignal.any([lock.signal, tenantLock.signal]) });
  });
