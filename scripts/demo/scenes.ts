/** The scenes of the demo, with the events of events/*.json. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { APIGatewayProxyEventV2, Context, ScheduledEvent, SQSEvent } from "aws-lambda";
import type { LockClient } from "middy-dynamo-lock";
import { idempotencyKey } from "middy-dynamo-lock/http";
import { root, samFunction } from "../sam-template.ts";
import { CLOCK_SKEW_MS, type Sandbox } from "./sandbox.ts";
import { became, type Scene, type Stage } from "./stage.ts";

const report = samFunction("ReportFunction");
/** A function's timeout is its lease, for which the retry after a crash has to wait. */
const order = { ...samFunction("OrderFunction"), timeoutMs: 2_000 };
const demo = (name: string, file: string) => ({ ...order, name, source: join(root, "examples", "demo", file) });
const outage = demo("OutageFunction", "outage.ts");
const shortage = demo("ShortageFunction", "shortage.ts");
const payment = samFunction("PaymentFunction");

export async function playScenes(stage: Stage, locks: LockClient): Promise<Scene[]> {
  const others = async () => [
    await anEventComesTwice(stage),
    await twoAtOnce(stage),
    await aHandlerThrows(stage),
    await aPayment(stage),
  ];
  const last = async () => [await aCrash(stage, locks), await aBatch(stage)];
  // The scene of the crash mostly waits, so the others play meanwhile.
  return (await Promise.all([others(), last()])).flat();
}

const anEventComesTwice = (stage: Stage) =>
  stage.perform({
    title: "An event comes twice",
    function: report,
    key: "reports#2026-11-21",
    invocations: ["first", "repeat"],
    async play([first, repeat]) {
      await first.invoke(reportEvent("2026-11-21"));
      await repeat.invoke(reportEvent("2026-11-21"));
    },
    promises: ([first, repeat]) => ({
      "the repeat got the first report": became([first, repeat], "ran", "replayed") && sameResponse(first, repeat),
    }),
  });

const twoAtOnce = (stage: Stage) =>
  stage.perform({
    title: "Two at the same time",
    function: report,
    key: "reports#2026-11-22",
    invocations: ["one", "the other", "retry"],
    async play([one, other, retry]) {
      await Promise.all([one.invoke(reportEvent("2026-11-22")), other.invoke(reportEvent("2026-11-22"))]);
      await retry.invoke(reportEvent("2026-11-22"));
    },
    promises: ([one, other, retry]) => ({
      "one was turned away": became([one, other], "ran", "refused") || became([one, other], "refused", "ran"),
      "its retry got the report": became([retry], "replayed") && [one, other].some((run) => sameResponse(run, retry)),
    }),
  });

const aHandlerThrows = (stage: Stage) =>
  stage.perform({
    title: "A handler that throws",
    function: outage,
    key: "outage#order-1",
    invocations: ["throws", "retry at once", "repeat"],
    async play([throws, retry, repeat]) {
      await throws.invoke(orderEvent("order-1", 1));
      await retry.invoke(orderEvent("order-1", 2));
      await repeat.invoke(orderEvent("order-1", 3));
    },
    promises: ([throws, retry, repeat]) => ({
      "the retry ran at once": became([throws, retry], "threw", "ran"),
      "after it, none": became([repeat], "replayed"),
    }),
  });

const aPayment = (stage: Stage) =>
  stage.perform({
    title: "A payment over HTTP",
    function: payment,
    key: `payments#${idempotencyKey({ scope: false })(paymentEvent("8e03978e"), {} as Context)}`,
    invocations: ["request", "concurrent repeat", "later repeat", "without a key"],
    async play([request, concurrent, later, keyless]) {
      const paying = request.invoke(paymentEvent("8e03978e"));
      await request.begun;
      await concurrent.invoke(paymentEvent("8e03978e"));
      await paying;
      await later.invoke(paymentEvent("8e03978e"));
      await keyless.invoke(paymentEvent());
    },
    promises: ([request, concurrent, later, keyless]) => ({
      "409 while it runs": became([request, concurrent], "ran", "refused"),
      "then its response": became([later], "replayed") && sameResponse(request, later),
      "400 without a key": became([keyless], "bad request"),
    }),
  });

const aCrash = (stage: Stage, locks: LockClient) =>
  stage.perform({
    title: "A crash in the middle",
    function: order,
    key: "orders#order-2",
    invocations: ["crashes", "retry at once", "retry later"],
    async play([crashes, atOnce, later]) {
      const crash = crashes.invoke(orderEvent("order-2", 1));
      await crashes.begun;
      await sleep(300);
      crashes.kill();
      await crash;
      await atOnce.invoke(orderEvent("order-2", 2));
      const now = Date.now();
      const { expiresAt = now } = (await locks.get("orders#order-2")) ?? {};
      const leaseEnd = Math.min(expiresAt, now + order.timeoutMs); // the demo has to end, also if this is not a lease
      const waitMs = leaseEnd + CLOCK_SKEW_MS - now;
      stage.tell(
        "A crash in the middle",
        `waiting ${(waitMs / 1_000).toFixed(1)} s: the lease of the killed run has to end`,
      );
      await sleep(waitMs);
      await later.invoke(orderEvent("order-2", 3));
    },
    promises: ([crashes, atOnce, later]) => ({
      "nobody within the lease": became([crashes, atOnce], "killed", "refused"),
      "then a take-over": became([later], "took over"),
    }),
  });

const aBatch = (stage: Stage) =>
  stage.perform({
    title: "A batch of ten",
    function: shortage,
    key: "shortage#order-14",
    invocations: ["the day before", "elsewhere", "batch of ten", "redelivery"],
    async play([before, elsewhere, batch, redelivery]) {
      await before.invoke(batchEvent(["order-11", "order-12"]));
      const shipping = elsewhere.invoke(batchEvent(["order-13"]));
      await elsewhere.begun;
      await batch.invoke(batchEvent(orders(11, 20)));
      await shipping;
      await redelivery.invoke(batchEvent(batch.returned, 2)); // as the queue does: what came back, and nothing else
    },
    promises: ([before, elsewhere, batch, redelivery]) => ({
      "two repeats dropped": became([before, elsewhere, batch], "ran", "ran", "ran") && shipped(batch, orders(15, 20)),
      "back: one held, one failed": isDeepStrictEqual(batch.returned.toSorted(), ["order-13", "order-14"]),
      "of them, one to ship": shipped(redelivery, ["order-14"]) && redelivery.returned.length === 0,
    }),
  });

const orders = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `order-${from + index}`);

const shipped = ({ runs }: Sandbox, expected: string[]): boolean =>
  isDeepStrictEqual(runs.flatMap(({ work, done }) => (work && done ? [work] : [])).toSorted(), expected);

function sameResponse({ outcome: one }: Sandbox, { outcome: other }: Sandbox): boolean {
  if (one.type !== "response" || other.type !== "response") return false;
  return isDeepStrictEqual(unmarked(one.response), unmarked(other.response));
}

/** Without what tells a replayed HTTP response from the first one (`replayedHeader`). */
function unmarked(response: unknown): unknown {
  const { headers } = Object(response) as { headers?: Record<string, string> };
  if (!headers) return response;
  const { "Idempotent-Replayed": _, ...others } = headers;
  return { ...(response as object), headers: others };
}

const eventFile = <T>(name: string): T => JSON.parse(readFileSync(join(root, "events", `${name}.json`), "utf8")) as T;

/** Messages whose ids are those of their orders, to be followed more easily. */
function batchEvent(orderIds: string[], delivery = 1): SQSEvent {
  return {
    Records: orderIds.flatMap((orderId) =>
      orderEvent(orderId, delivery).Records.map((record) => ({ ...record, messageId: orderId })),
    ),
  };
}

const reportEvent = (date: string): ScheduledEvent => ({ ...eventFile("report"), time: `${date}T06:00:00Z` });

function orderEvent(orderId: string, delivery: number): SQSEvent {
  const { Records } = eventFile<SQSEvent>("order");
  return {
    Records: Records.slice(0, 1).map((record) => ({
      ...record,
      body: JSON.stringify({ ...JSON.parse(record.body), orderId }),
      attributes: { ...record.attributes, ApproximateReceiveCount: `${delivery}` },
    })),
  };
}

function paymentEvent(key?: string): APIGatewayProxyEventV2 {
  const event = eventFile<APIGatewayProxyEventV2>("payment");
  const { "idempotency-key": _, ...headers } = event.headers;
  return { ...event, headers: { ...headers, ...(key && { "idempotency-key": key }) } };
}
