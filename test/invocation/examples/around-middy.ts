// example: around-middy
import middy from "@middy/core";
import httpCors from "@middy/http-cors";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { type LockContext, withLock } from "middy-dynamo-lock";

const cors = { origins: ["https://shop.example"] };

const payment = middy<APIGatewayProxyEventV2>()
  .use(httpCors(cors))
  .handler(async (event, context) => {
    const { lock } = context as typeof context & LockContext;
    const charged = await charge(event.body, { idempotencyKey: lock.key });
    return { statusCode: 201, headers: {}, body: JSON.stringify(charged) };
  });

export const handler = middy<APIGatewayProxyEventV2>()
  .use(httpCors(cors)) // for the errors
  .use(httpErrorHandler())
  .handler(
    withLock(payment, {
      namespace: "payments",
      key: (event: APIGatewayProxyEventV2) => event.headers["idempotency-key"],
      fingerprint: (event) => event.body,
      rememberMs: 24 * 3_600_000,
      replayedHeader: true,
    }),
  );
