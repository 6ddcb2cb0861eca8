// example: once-at-a-time
import middy from "@middy/core";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<{ tenant: string }>()
  .use(
    dynamoLock<{ tenant: string }>({
      namespace: "tenants",
      key: (event) => event.tenant,
      onSuccess: "release",
      waitMs: 5_000,
    }),
  )
  .handler(async (event, context) => syncTenant(event.tenant, { signal: context.lock.signal }));
