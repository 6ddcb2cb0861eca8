// example: all-around
import middy from "@middy/core";
import httpCors from "@middy/http-cors";
import httpErrorHandler from "@middy/http-error-handler";
import httpResponseSerializer from "@middy/http-response-serializer";
import type { APIGatewayProxyEvent } from "aws-lambda";
import { withLock } from "middy-dynamo-lock";
import { httpIdempotency, httpProblems } from "middy-dynamo-lock/http";

const payment = withLock(
  async (event: APIGatewayProxyEvent, context) => {
    const charged = await charge(event.body ?? undefined, { idempotencyKey: context.lock?.idempotencyKey() });
    return { statusCode: 201, body: charged };
  },
  {
    namespace: "payments",
    ...httpIdempotency<APIGatewayProxyEvent>({ scope: (event) => event.requestContext.authorizer?.principalId }),
  },
);

export const handler = middy<APIGatewayProxyEvent>()
  .use(httpCors({ origin: "https://shop.example" }))
  .use(httpErrorHandler())
  .use(httpProblems({ documentation: "https://api.example.com/docs/idempotency" }))
  .use(
    httpResponseSerializer({
      serializers: [{ regex: /^application\/json$/, serializer: ({ body }) => JSON.stringify(body) }],
      defaultContentType: "application/json",
    }),
  )
  .handler(payment);
