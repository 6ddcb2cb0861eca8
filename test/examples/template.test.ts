import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { DescribeTableCommand, DescribeTimeToLiveCommand } from "@aws-sdk/client-dynamodb";
import type { KinesisStreamRecord, SQSRecord } from "aws-lambda";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle, root, samFunction, template } from "../../scripts/sam-template.ts";
import { createReporter } from "../../src/common/report.ts";
import type { LockEvent } from "../../src/index.ts";
import { deploy, eventFile, type FunctionName, functionNames } from "./deploy.ts";

const run = promisify(execFile);
const { Resources } = template;
const properties = (name: string) => Resources[name]?.Properties ?? {};

/** Every event, as the reporter tells of it. */
const observed = (about: object) => {
  const types = [
    ...readFileSync(join(root, "src/common/report.ts"), "utf8").matchAll(
      /^ {2}"?([a-z-]+)"?: \["(?:debug|warn|error)"|^ {2}"?([a-z-]+)"?: \[$/gm,
    ),
  ];
  return {
    EVENT_TYPES: types.map(([, inline, long]) => (inline ?? long) as LockEvent["type"]),
    metricsOf: (type: LockEvent["type"]) => {
      const names: string[] = [];
      const metrics = { addMetric: (name: string) => names.push(name) };
      createReporter({ metrics, onEvent: () => {} })({ ...about, type } as LockEvent);
      return names;
    },
  };
};

let app: Awaited<ReturnType<typeof deploy>>;
beforeAll(async () => {
  app = await deploy();
});
afterAll(() => app.close());

describe("the table", () => {
  it("is the one that createLockTable makes", async () => {
    const { client, tableName } = app.table;
    const { Table: table } = await client.send(new DescribeTableCommand({ TableName: tableName }));
    const { TimeToLiveDescription: ttl } = await client.send(new DescribeTimeToLiveCommand({ TableName: tableName }));
    expect(properties("LockTable")).toEqual({
      BillingMode: table?.BillingModeSummary?.BillingMode,
      AttributeDefinitions: table?.AttributeDefinitions,
      KeySchema: table?.KeySchema,
      TimeToLiveSpecification: { AttributeName: ttl?.AttributeName, Enabled: true },
    });
  });

  it("is the one that the functions use", () => {
    for (const name of functionNames) expect(samFunction(name).environment.DYNAMO_LOCK_TABLE).toBe("LockTable");
  });
});

describe("the alarms", () => {
  const event = {
    key: "k",
    owner: "o",
    token: "t",
    fencingToken: 1,
    elapsedMs: 1,
    waitedMs: 1,
    records: 1,
    reason: "expired",
  };
  /** The lines that are logged for events which count for a metric. */
  const linesOf = (metric: string) => {
    const { EVENT_TYPES, metricsOf } = observed(event);
    return EVENT_TYPES.filter((type) => metricsOf(type).includes(metric)).map((type) => `Lock ${type}`);
  };

  it.each(["LockLost", "LockFailed"])("on %s count the lines of the events that the metric counts", (metric) => {
    const { FilterPattern, MetricTransformations } = properties(`${metric}Filter`);
    const [{ MetricName, MetricNamespace }] = MetricTransformations;
    const messages = [...FilterPattern.matchAll(/\$\.message = "(.*?)"/g)].map(([, message]) => message);
    expect(messages.toSorted()).toEqual(linesOf(metric).toSorted());
    const alarm = properties(`${metric}Alarm`);
    expect([alarm.MetricName, alarm.Namespace]).toEqual([MetricName, MetricNamespace]);
    expect([MetricName, alarm.Threshold, alarm.TreatMissingData]).toEqual([metric, 1, "notBreaching"]);
  });

  it("have a dashboard whose body is JSON", () => {
    const { widgets } = JSON.parse(properties("LockDashboard").DashboardBody);
    expect(widgets).toHaveLength(4);
  });
});

describe("the role", () => {
  it.each(functionNames)("of %s allows what its handler sends, on the table, and nothing else", async (name) => {
    app.wire.actions.length = 0;
    const event = eventFile(name);
    if ("Records" in event) await invokeWithOne(name, event as never); // a batch of one record is not bulk
    if (name === "ReadingFunction") await waitsFor("reading-held"); // as only this one does
    await app.invoke(name, event); // runs
    await app.invoke(name, event); // is answered from the record
    const sent = [...new Set(app.wire.actions)];
    expect(sent).not.toEqual([]);
    expect(samFunction(name).statements).toEqual([
      { Effect: "Allow", Action: sent.length === 1 ? sent[0] : sent, Resource: "LockTable.Arn" },
    ]);
  });
});

/** Delivers a batch with one record, about something of its own. */
const invokeWithOne = (name: FunctionName, { Records }: { Records: readonly (SQSRecord | KinesisStreamRecord)[] }) => {
  const record = structuredClone(Records[0]) as SQSRecord | KinesisStreamRecord;
  const alone = (text: string) => text.replace(/-\d+"/, '-alone"');
  if ("body" in record) record.body = alone(record.body);
  else
    record.kinesis.data = Buffer.from(alone(Buffer.from(record.kinesis.data, "base64").toString())).toString("base64");
  return app.invoke(name, { Records: [record] } as never);
};

/** A function that waits looks at the key meanwhile. */
const waitsFor = async (readingId: string) => {
  const [record] = eventFile("ReadingFunction").Records as [KinesisStreamRecord];
  const data = Buffer.from(JSON.stringify({ readingId, meter: "meter-17", kWh: 1 })).toString("base64");
  const other = await app.underWay("ReadingFunction", readingId);
  const waiting = app.invoke("ReadingFunction", { Records: [{ ...record, kinesis: { ...record.kinesis, data } }] });
  while (!app.wire.actions.includes("dynamodb:GetItem")) await new Promise((resolve) => setTimeout(resolve, 5));
  await other.finish();
  await waiting;
};

describe("the bundle", () => {
  it.each(functionNames)("of %s needs nothing but the AWS SDK, which Lambda's runtime has", async (name) => {
    const { source, build } = samFunction(name);
    const task = await mkdtemp(join(tmpdir(), "task-"));
    try {
      await mkdir(join(task, "node_modules"));
      await symlink(join(root, "node_modules/@aws-sdk"), join(task, "node_modules/@aws-sdk"));
      const file = await bundle(source, build, task);
      // In a process of its own, because Vitest would find in the project what the bundle lacks.
      const load = `console.log(typeof (await import(${JSON.stringify(pathToFileURL(file).href)})).handler)`;
      const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", load]);
      expect(stdout.trim()).toBe("function");
    } finally {
      await rm(task, { recursive: true });
    }
  });
});

describe("timeouts", () => {
  it.each([
    ["OrderFunction", "OrderQueue"],
    ["StockFunction", "StockQueue"],
  ])("a message of %s comes back after its key is free: the queue waits six timeouts", (fn, queue) => {
    const { VisibilityTimeout, RedrivePolicy } = properties(queue);
    expect(VisibilityTimeout * 1_000).toBeGreaterThanOrEqual(6 * samFunction(fn).timeoutMs);
    expect(RedrivePolicy.maxReceiveCount).toBeGreaterThanOrEqual(5);
  });

  it("a reading that a crashed run holds is waited for in three retries of half a timeout, of ten", () => {
    const { timeoutMs } = samFunction("ReadingFunction");
    expect(3 * 30_000).toBeGreaterThan(timeoutMs + 1_000);
    expect(timeoutMs).toBe(2 * 30_000);
    expect(properties("ReadingFunction").Events.Stream.Properties.MaximumRetryAttempts).toBe(10);
  });

  it("readings of a batch are stored in the half of the timeout that is kept for it", () => {
    const { timeoutMs, environment } = samFunction("ReadingFunction");
    const { BatchSize } = properties("ReadingFunction").Events.Stream.Properties;
    expect(BatchSize * Number(environment.WORK_MS)).toBeLessThan(0.9 * (timeoutMs / 2));
  });

  it("a report whose run crashed at once is free for Lambda's last retry, three minutes later", () => {
    expect(samFunction("ReportFunction").timeoutMs + 1_000).toBeLessThan(3 * 60_000);
  });
});

describe("batches", () => {
  it.each([
    ["OrderFunction", "Queue"],
    ["StockFunction", "Queue"],
    ["ReadingFunction", "Stream"],
  ])("of %s may fail in part", (fn, source) => {
    const { FunctionResponseTypes } = properties(fn).Events[source].Properties;
    expect(FunctionResponseTypes).toEqual(["ReportBatchItemFailures"]);
  });

  it("what fails again and again is kept: in a queue of the same kind, for two weeks", () => {
    for (const queue of ["OrderQueue", "StockQueue"]) {
      const { FifoQueue, RedrivePolicy } = properties(queue);
      const letters = properties(RedrivePolicy.deadLetterTargetArn.replace(".Arn", ""));
      expect(letters).toMatchObject({ MessageRetentionPeriod: 1209600, ...(FifoQueue && { FifoQueue }) });
    }
    const { Destination } = properties("ReadingFunction").Events.Stream.Properties.DestinationConfig.OnFailure;
    expect(properties(Destination.replace(".Arn", "")).MessageRetentionPeriod).toBe(1209600);
  });
});

describe("the sample events", () => {
  it("fit the event sources", () => {
    const { Method, Path, PayloadFormatVersion } = properties("PaymentFunction").Events.Post.Properties;
    const { version, routeKey, rawPath, headers, body } = eventFile("PaymentFunction");
    expect({ version, routeKey, rawPath }).toEqual({
      version: PayloadFormatVersion,
      routeKey: `${Method} ${Path}`,
      rawPath: Path,
    });
    expect(headers["content-length"]).toBe(`${body?.length}`);

    for (const { body, md5OfBody } of [...eventFile("OrderFunction").Records, ...eventFile("StockFunction").Records]) {
      expect(md5OfBody).toBe(createHash("md5").update(body).digest("hex"));
    }
    for (const { eventSourceARN, attributes } of eventFile("StockFunction").Records) {
      expect(eventSourceARN).toMatch(/\.fifo$/);
      expect(Object.keys(attributes)).toEqual(
        expect.arrayContaining(["MessageGroupId", "MessageDeduplicationId", "SequenceNumber"]),
      );
    }
    for (const { eventID, kinesis } of eventFile("ReadingFunction").Records) {
      expect(eventID).toBe(`shardId-000000000006:${kinesis.sequenceNumber}`);
    }
    expect(eventFile("ReportFunction")).toMatchObject({ source: "aws.events", "detail-type": "Scheduled Event" });
  });
});
