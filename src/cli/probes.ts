/** Requests that show what is allowed. All are about a random key, and leave nothing. */
import { randomUUID } from "node:crypto";
import { request, type TableDescription } from "./aws.ts";
import type { CommandCall } from "./call.ts";

/** The outcome of one check. */
export interface Finding {
  readonly check: string;
  /** `unknown`: it could not be looked at. */
  readonly status: "ok" | "warn" | "fail" | "unknown";
  readonly detail: string;
  readonly remedy?: string;
}

/** The keys of a table that are not as they are asked for, in words. */
export const missingAttributes = (
  { KeySchema = [], AttributeDefinitions = [] }: TableDescription,
  key: string,
  sortKey: string | undefined,
): string | undefined => {
  const nameOf = (type: string) => KeySchema.find(({ KeyType }) => KeyType === type)?.AttributeName;
  const [hash, range] = [nameOf("HASH"), nameOf("RANGE")];
  const type = AttributeDefinitions.find(({ AttributeName }) => AttributeName === hash)?.AttributeType;
  if (hash !== key) return `the partition key is ${hash}, not ${key}`;
  if (type !== "S") return `the partition key is of type ${type}, not S`;
  return range === sortKey ? undefined : `the sort key is ${range ?? "none"}, not ${sortKey ?? "none"}`;
};

interface Probe {
  readonly action: string;
  readonly neededFor: string;
  /** Without it no lock can be taken. */
  readonly isVital?: boolean;
  readonly operation: string;
  readonly input: object;
}

/** A probe that was not cleaned up goes by TTL. */
const PROBE_SECONDS = 3_600;
const never = (key: string) => `attribute_exists(${key}) AND attribute_not_exists(${key})`;

const probesOf = ({ tableName, options }: CommandCall): Probe[] => {
  const { keyAttribute = "lock_id", ttlAttribute = "ttl", sortKey } = options;
  const [attribute, value] = sortKey?.split(/=(.*)/s) ?? [];
  const own = attribute === undefined ? {} : { [attribute]: { S: value } };
  const at = (key: string) => ({ TableName: tableName, Key: { [keyAttribute]: { S: key }, ...own } });
  const [name, absent] = [`doctor-${randomUUID()}`, `doctor-${randomUUID()}`];
  const names = { "#k": keyAttribute };
  const impossible = { ConditionExpression: never("#k"), ExpressionAttributeNames: names };
  const written = {
    ...at(name),
    UpdateExpression: "SET #x = :x",
    ExpressionAttributeNames: { "#x": ttlAttribute },
    ExpressionAttributeValues: { ":x": { N: String(Math.floor(Date.now() / 1_000) + PROBE_SECONDS) } },
  };
  const refused = { ...at(name), ...impossible, ReturnValuesOnConditionCheckFailure: "ALL_OLD" };
  const check = { ...at(absent), ConditionExpression: "attribute_not_exists(#k)", ExpressionAttributeNames: names };
  const get = at(name);
  return [
    { action: "UpdateItem", neededFor: "every lock", isVital: true, operation: "UpdateItem", input: written },
    {
      action: "refused items",
      neededFor: "seeing who holds a key, in the request that is refused",
      isVital: true,
      operation: "UpdateItem",
      input: refused,
    },
    {
      action: "GetItem",
      neededFor: "waiting, replays of large responses, and the commands here",
      operation: "GetItem",
      input: get,
    },
    {
      action: "BatchGetItem",
      neededFor: "waitUntilFinished, and wait here",
      operation: "BatchGetItem",
      input: { RequestItems: { [tableName]: { Keys: [get.Key] } } },
    },
    {
      action: "Scan",
      neededFor: "list, watch --prefix and purge",
      operation: "Scan",
      input: { TableName: tableName, Limit: 1 },
    },
    {
      action: "ConditionCheckItem",
      neededFor: "lock.condition()",
      operation: "TransactWriteItems",
      input: { TransactItems: [{ ConditionCheck: check }] },
    },
    { action: "DeleteItem", neededFor: "purge and warmUp", operation: "DeleteItem", input: get },
  ];
};

/** Sends all probes, one after the other. */
export const probe = async (call: CommandCall): Promise<{ findings: Finding[]; latencies: number[] }> => {
  const findings: Finding[] = [];
  const latencies: number[] = [];
  for (const { action, neededFor, isVital, operation, input } of probesOf(call)) {
    const startedAt = performance.now();
    const error = await request(call.client, operation, input).then(
      () => undefined,
      (thrown: Error & { Item?: object }) => thrown,
    );
    latencies.push(performance.now() - startedAt);
    const isRefusal = error?.name === "ConditionalCheckFailedException";
    if (action === "refused items") {
      findings.push(refusalFinding(isRefusal, error));
      continue;
    }
    const status =
      error === undefined || isRefusal
        ? "ok"
        : error.name === "AccessDeniedException"
          ? isVital
            ? "fail"
            : "warn"
          : "unknown";
    findings.push({
      check: `may ${action}`,
      status,
      detail: status === "ok" ? `for ${neededFor}` : `${error?.name}: it is for ${neededFor}`,
      ...(status !== "ok" && { remedy: `allow dynamodb:${action} on the table to whoever needs it` }),
    });
  }
  return { findings, latencies };
};

const refusalFinding = (isRefusal: boolean, error: (Error & { Item?: object }) | undefined): Finding => {
  const check = "refused items";
  if (!isRefusal)
    return { check, status: "unknown", detail: `the probe was not refused as it should be: ${error?.name}` };
  if (error?.Item)
    return { check, status: "ok", detail: "come with the refusal (ReturnValuesOnConditionCheckFailure)" };
  return {
    check,
    status: "fail",
    detail: "do not come with the refusal",
    remedy: "this engine is too old, or a mock: each refusal costs a read",
  };
};
