/** Consumers of batches that the tests bundle and invoke: what each order's work does stands in the order. */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import middy from "@middy/core";
import type { KinesisStreamEvent, KinesisStreamRecord, SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "../../src/index.ts";

export interface Order {
  readonly order: string;
  /** File to which every order's work adds a line. */
  readonly journal: string;
  /** The work goes on until this file exists. */
  readonly gate?: string;
  readonly ends?: "throwing" | "exiting";
}

const messageOf = (record: SQSRecord): Order => JSON.parse(record.body) as Order;
const dataOf = ({ kinesis }: KinesisStreamRecord): Order =>
  JSON.parse(Buffer.from(kinesis.data, "base64").toString()) as Order;

const work = async ({ order, journal, gate, ends }: Order): Promise<void> => {
  appendFileSync(journal, `began ${order}\n`);
  if (ends === "exiting") process.exit(7);
  while (gate && !existsSync(gate)) await sleep(5);
  if (ends === "throwing") throw new RangeError(`no ${order}`);
  appendFileSync(journal, `ended ${order}\n`);
};

export const queue = middy<SQSEvent>()
  .use(dynamoLockBatch({ key: (record: SQSRecord) => messageOf(record).order, logger: console }))
  .handler(async ({ Records }) => Promise.allSettled(Records.map(async (record) => work(messageOf(record)))));

/** One after the other; the first that throws ends the batch. */
export const stream = middy<KinesisStreamEvent>()
  .use(dynamoLockBatch({ key: (record: KinesisStreamRecord) => dataOf(record).order, logger: console }))
  .handler(async ({ Records }) => {
    for (const record of Records) {
      try {
        await work(dataOf(record));
      } catch {
        return { batchItemFailures: [{ itemIdentifier: record.kinesis.sequenceNumber }] };
      }
    }
    return { batchItemFailures: [] };
  });

/** Middy answers in place of a handler that takes too long. */
export const answersEarly = middy<SQSEvent>({ timeoutEarlyResponse: () => ({ batchItemFailures: [] }) })
  .use(dynamoLockBatch({ key: (record: SQSRecord) => messageOf(record).order, logger: console }))
  .handler(async ({ Records }) => {
    await Promise.all(Records.map((record) => work(messageOf(record))));
  });
