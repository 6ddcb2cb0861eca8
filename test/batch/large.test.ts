/** The largest batch there is: 10,000 records (https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html). */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeAll, expect, it } from "vitest";
import { consumer, failures, kinesisRecord, shop } from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const RECORDS = 10_000;
/** A lock with its timer and its signal: 2,500 when this was written, now 4,650 on Node.js 24 and 5,040 on 22. */
const MAX_BYTES_PER_RECORD = 5_300;

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");
const heapUsed = () => {
  collectGarbage();
  return process.memoryUsage().heapUsed;
};

it("10,000 records are owned and finished with at most 50 requests on their way, and little memory for each", async () => {
  const { options, client, sent, heldByAnother } = shop(table);
  await heldByAnother("9999");
  let inFlight = 0;
  let most = 0;
  client.middlewareStack.add(
    (next) => (args) => {
      most = Math.max(most, ++inFlight);
      return next(args).finally(() => inFlight--);
    },
    { step: "finalizeRequest", name: "in-flight" },
  );
  const Records = Array.from({ length: RECORDS }, (_, index) =>
    kinesisRecord(`${100_000 + index}`, `${index}`, `partition-${index}`),
  );
  const { onEvent: _many, ...quiet } = options;
  const before = heapUsed();
  let during = 0;
  const { invoke, given } = consumer(quiet, () => {
    during = heapUsed();
  });
  expect(await invoke({ Records }, lambdaContext({ timeoutMs: 900_000 }))).toEqual(failures("109999"));
  expect(given()[0]).toHaveLength(RECORDS - 1);
  expect(sent).toHaveLength(2 * RECORDS - 1);
  expect(most).toBe(50);
  expect((during - before) / RECORDS).toBeLessThan(MAX_BYTES_PER_RECORD);
}, 300_000);
