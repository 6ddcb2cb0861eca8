// example: payment
import middy from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2WithJWTAuthorizer } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";
import { httpIdempotency, httpProblems } from "middy-dynamo-lock/http";

type Event = APIGatewayProxyEventV2WithJWTAuthorizer;

export const handler = middy<Event>()
  .use(httpErrorHandler()) // for the handler's own errors
  .use(httpProblems({ documentation: "https://api.example.com/docs/idempotency" }))
  .use(
    dynamoLock<Event>({
      namespace: "payments",
      ...httpIdempotency<Event>({ scope: (event) => String(event.requestContext.authorizer.jwt.claims.sub) }),
    }),
  )
  .handler(async (event, context) => {
    const payment = await charge(event.body, { idempotencyKey: context.lock?.idempotencyKey() });
    return { statusCode: 201, body: JSON.stringify(payment) };
  });
