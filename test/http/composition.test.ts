/** `httpIdempotency` and `httpProblems` with Middy's own middlewares, in both of its versions, on an engine. */
import httpCors7 from "@middy/http-cors";
import httpErrorHandler7 from "@middy/http-error-handler";
import httpResponseSerializer7 from "@middy/http-response-serializer";
import httpCors6 from "middy-http-cors-6";
import httpErrorHandler6 from "middy-http-error-handler-6";
import httpResponseSerializer6 from "middy-http-response-serializer-6";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { httpIdempotency, httpProblems } from "../../src/http.ts";
import { dynamoLock, LockError, withLock } from "../../src/index.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { failRequests, versions } from "../support/middy.ts";
import { type Sent, services, userOf } from "./events.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const middlewares = [
  { httpCors: httpCors7, httpErrorHandler: httpErrorHandler7, httpResponseSerializer: httpResponseSerializer7 },
  { httpCors: httpCors6, httpErrorHandler: httpErrorHandler6, httpResponseSerializer: httpResponseSerializer6 },
];
const documentation = "https://api.example.com/docs/idempotency";
const origin = "https://shop.example";
const cors = { "Access-Control-Allow-Origin": origin };

interface Answer {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly multiValueHeaders?: Record<string, string[]>;
  readonly body: string;
}
/** Middy's middlewares know `headers` alone. */
const withAllHeaders = ({ multiValueHeaders = {}, ...answer }: Answer): Answer => ({
  ...answer,
  headers: {
    ...answer.headers,
    ...Object.fromEntries(Object.entries(multiValueHeaders).map(([name, [one]]) => [name, one ?? ""])),
  },
});
type Work = () => unknown;

let requests = 0;
const freshKey = () => `request-${++requests}`;

describe.each(versions.map((version, index) => ({ ...version, ...(middlewares[index] as (typeof middlewares)[0]) })))(
  "with $name",
  ({ middy, httpCors, httpErrorHandler, httpResponseSerializer }) => {
    const serializer = {
      regex: /^application\/json$/,
      serializer: ({ body }: { body?: unknown }) => JSON.stringify(body),
    };
    const setUp = (options: object = {}) => {
      const { client, sent } = countingClient({ maxAttempts: 1 });
      const all = {
        namespace: "payments",
        client,
        tableName: table.tableName,
        ...httpIdempotency({ scope: userOf }),
        ...options,
      };
      const work = vi.fn<Work>(() => ({ statusCode: 201, body: { paymentId: 7 } }));
      // biome-ignore lint/suspicious/noExplicitAny: of two versions
      const outer: any[] = [
        httpCors({ origin }),
        httpErrorHandler({ logger: false }),
        httpProblems({ documentation }),
        httpResponseSerializer({ serializers: [serializer], defaultContentType: "application/json" }),
      ];
      const chain = (more: unknown[], handler: unknown) => {
        const chained = middy();
        for (const each of [...outer, ...more]) chained.use(each);
        chained.handler(handler as never);
        return (event: unknown) =>
          (chained as unknown as (event: unknown, context: object) => Promise<Answer>)(event, lambdaContext()).then(
            withAllHeaders,
          );
      };
      return {
        client,
        sent,
        work,
        around: chain(
          [],
          withLock(async () => work(), all),
        ),
        behind: chain([dynamoLock(all)], async () => work()),
      };
    };

    describe.each(services)("a request through $service", ({ eventOf }) => {
      const post = (key: string, more: Sent = {}) =>
        eventOf({ headers: { "Idempotency-Key": `"${key}"`, Origin: origin }, body: "{}", ...more });

      it("withLock within all of them: a replay has all that the first response has, and says that it is one", async () => {
        const { around, work } = setUp();
        const event = post(freshKey());
        const first = await around(event);
        expect(first).toMatchObject({ statusCode: 201, body: '{"paymentId":7}', headers: cors });
        expect(await around(event)).toEqual({
          ...first,
          headers: { ...first.headers, "Idempotent-Replayed": "true" },
        });
        expect(work).toHaveBeenCalledTimes(1);
      });

      it.each(["around", "behind"] as const)("%s: errors are problems, with the headers of the others", async (way) => {
        const { [way]: invoke, work } = setUp();
        const key = freshKey();
        const started = Promise.withResolvers<void>();
        const finish = Promise.withResolvers<void>();
        work.mockImplementationOnce(async () => {
          started.resolve();
          await finish.promise;
          return { statusCode: 201, body: { paymentId: 8 } };
        });
        const first = invoke(post(key));
        await started.promise;
        const problem = {
          ...cors,
          "Content-Type": "application/problem+json",
          Link: `<${documentation}>; rel="describedby"`,
        };
        const conflict = await invoke(post(key));
        expect(conflict).toMatchObject({ statusCode: 409, headers: { ...problem, "Retry-After": "5" } });
        finish.resolve();
        await first;
        expect(await invoke(post(key, { body: '{"amount":1}' }))).toMatchObject({ statusCode: 422, headers: problem });
        expect(await invoke(post(key, { headers: { Origin: origin } }))).toMatchObject({
          statusCode: 400,
          headers: problem,
        });
        expect(work).toHaveBeenCalledTimes(1);
        expect(JSON.parse(conflict.body)).toMatchObject({ type: documentation, status: 409 });
      });

      it("the key of one caller is not another's", async () => {
        const { around, work } = setUp();
        const key = freshKey();
        await around(post(key, { user: "ann" }));
        await around(post(key, { user: "bob" }));
        expect(work).toHaveBeenCalledTimes(2);
      });

      it("a safe method runs without a lock, and sends nothing", async () => {
        const { behind, sent, work } = setUp();
        const event = post(freshKey(), { method: "GET" });
        expect(await behind(event)).toMatchObject({ statusCode: 201 });
        expect(await behind(event)).toMatchObject({ statusCode: 201 });
        expect([work.mock.calls.length, sent]).toEqual([2, []]);
      });
    });

    const request = (key: string) =>
      services[0].eventOf({ headers: { "Idempotency-Key": key, Origin: origin }, body: "{}" });

    it("a failure that is final is replayed with its status and message, and marked", async () => {
      const { behind, work } = setUp({ onError: "finish" });
      work.mockImplementation(() => {
        throw Object.assign(new Error("The card was declined"), { statusCode: 402 });
      });
      const event = request(freshKey());
      const first = await behind(event);
      expect(first).toMatchObject({ statusCode: 402, body: "The card was declined" });
      expect(first.headers).not.toHaveProperty("Idempotent-Replayed");
      expect(await behind(event)).toEqual({ ...first, headers: { ...first.headers, "Idempotent-Replayed": "true" } });
      expect(work).toHaveBeenCalledTimes(1);
    });

    it("a failure that may pass leaves the key to the corrected request", async () => {
      const { behind, work } = setUp();
      work.mockImplementationOnce(() => {
        throw Object.assign(new Error("amount is required"), { statusCode: 400 });
      });
      const event = request(freshKey());
      expect(await behind(event)).toMatchObject({ statusCode: 400, body: "amount is required" });
      expect(await behind(event)).toMatchObject({ statusCode: 201 });
    });

    it("while DynamoDB is away nothing runs, and the caller is told to come again", async () => {
      const { behind, client, work } = setUp();
      failRequests(client, () => true);
      const answer = await behind(request(freshKey()));
      expect(answer).toMatchObject({ statusCode: 503, headers: { ...cors, "Retry-After": "1" } });
      expect(answer.body).not.toContain(table.tableName);
      expect(work).not.toHaveBeenCalled();
    }, 20_000);

    it("a misconfiguration is a 500, and says nothing to the caller", async () => {
      const { behind } = setUp(httpIdempotency({ scope: () => undefined as never }));
      const answer = await behind(request(freshKey()));
      expect(answer).toMatchObject({ statusCode: 500 });
      expect(answer.body ?? "").not.toContain("scope");
    });

    it("an error of the lock that is no problem of a request stays an error", async () => {
      const { behind, work } = setUp();
      work.mockImplementation(() => {
        throw new LockError("LOCK_TABLE", "Table secrets is missing");
      });
      expect((await behind(request(freshKey()))).body ?? "").not.toContain("secrets");
    });
  },
);
