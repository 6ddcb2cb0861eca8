/**
 * `npm run demo`: the functions of template.yaml, bundled as SAM bundles them, in processes of their own, on a DynamoDB
 * engine that runs here. Ends with status 1 if anything that was promised did not happen.
 */
import { randomUUID } from "node:crypto";
import { styleText } from "node:util";
import { DeleteTableCommand, DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import { createLockTable, LockClient } from "middy-dynamo-lock";
import { drawRecords, drawTimeline } from "./demo/picture.ts";
import { playScenes } from "./demo/scenes.ts";
import { Stage } from "./demo/stage.ts";
import { clientConfig, startEngine } from "./engine.ts";

const WATCHDOG_MS = 60_000;

const watchdog = setTimeout(() => {
  console.error(`The demo did not end within ${WATCHDOG_MS / 1_000} s`);
  process.exit(1); // which ends the engine and the sandboxes
}, WATCHDOG_MS);

const engine = await startEngine();
console.log(`Playing six scenes on ${engine.name}, every invocation in a process of its own, some at the same time:\n`);
const startedAt = performance.now();
const tell = (title: string, words: string) => {
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(styleText("dim", `${seconds.padStart(5)} s  ${title}: ${words}`));
};
const client = new DynamoDBClient(clientConfig(engine.endpoint));
const tableName = `demo-${randomUUID()}`;
const stage = new Stage({ endpoint: engine.endpoint, tableName, tell });
try {
  await createLockTable(client, { tableName });
  const scenes = await playScenes(stage, new LockClient({ client, tableName }));
  const { Items: items = [] } = await client.send(new ScanCommand({ TableName: tableName, ConsistentRead: true }));
  console.log(`\n${drawTimeline(scenes)}\n${drawRecords(items, scenes)}\n`);

  const promises = scenes.flatMap(({ title, promises }) => promises.map((promise) => ({ title, ...promise })));
  const broken = promises.filter(({ kept }) => !kept);
  for (const { title, text } of broken) console.error(`Broken promise: ${title}: ${text}`);
  if (broken.length > 0) process.exitCode = 1;
  else console.log(`All ${promises.length} promises kept.`);
  await client.send(new DeleteTableCommand({ TableName: tableName }));
} finally {
  clearTimeout(watchdog);
  await stage.close();
  client.destroy();
  await engine.stop();
}
