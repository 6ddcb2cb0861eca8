import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";
import { httpIdempotency, httpProblems } from "middy-dynamo-lock/http";

const logger = new Logger({ serviceName: "payment" });

/** As long as clients are told that they may repeat a request. */
const REMEMBER_MS = 24 * 3_600_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 500);

/**
 * Charges once per `Idempotency-Key`: a repeat gets the first response, a concurrent one 409, another body under the same key 422, one
 * without the header 400.
 *
 * After a crash the next run charges again: hand `context.lock?.idempotencyKey()` to a real provider.
 * `scope: false` is for this demo, where nobody signs in. Once you know who is calling, give that, or one caller's key gets
 * another caller's response.
 */
export const handler = middy<APIGatewayProxyEventV2>()
  .use(injectLambdaContext(logger))
  // Before the lock, because Middy runs onError in reverse: the lock must see the error before it becomes a response.
  .use(httpErrorHandler({ logger: (error) => logger.warn("No payment", error) }))
  .use(httpProblems())
  .use(
    dynamoLock<APIGatewayProxyEventV2>({
      namespace: "payments",
      ...httpIdempotency<APIGatewayProxyEventV2>({ scope: false, rememberMs: REMEMBER_MS }),
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
