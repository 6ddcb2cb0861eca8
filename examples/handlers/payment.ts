import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "payment" });

/** As long as clients are told that they may repeat a request. */
const REMEMBER_MS = 24 * 3_600_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 500);

/**
 * Charges once per `Idempotency-Key`: a repeat gets the first response, a concurrent one 409, another body under the same key 422, one
 * without the header 400.
 *
 * After a crash the next run charges again: hand `context.lock.key` to a real provider as its idempotency key.
 * Once you know who is calling, put that into the key too, or one caller's key gets another caller's response.
 */
export const handler = middy<APIGatewayProxyEventV2>()
  .use(injectLambdaContext(logger))
  // Before the lock, because Middy runs onError in reverse: the lock must see the error before it becomes a response.
  .use(httpErrorHandler({ logger: (error) => logger.warn("No payment", error) }))
  .use(
    dynamoLock<APIGatewayProxyEventV2>({
      namespace: "payments",
      key: (event) => event.headers["idempotency-key"], // an HTTP API sends header names in lower case
      fingerprint: (event) => event.body,
      rememberMs: REMEMBER_MS,
      replayedHeader: true,
      logger,
    }),
  )
  .handler(async (event) => {
    const { amount, currency } = JSON.parse(event.body ?? "{}") as { amount?: number; currency?: string };
    if (!amount || !currency) {
      // Thrown, so that the key is free for the corrected request. A response that is returned is final.
      throw Object.assign(new Error("amount and currency are required"), { statusCode: 400 });
    }
    logger.info("Payment begun", { amount, currency });
    await sleep(WORK_MS);
    const payment = { paymentId: randomUUID(), amount, currency };
    logger.info("Payment done", { payment });
    return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(payment) };
  });
