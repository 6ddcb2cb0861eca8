import { systemClock } from "../common/clock.ts";
import { LockTableError } from "../common/errors.ts";
import { checkArgument, type Rule } from "../common/rules.ts";
import { type Look, poll, TABLE_IN_USE, tableRequests, ttlRequest } from "../dynamodb/new-table.ts";
import type { Transport } from "../dynamodb/transport.ts";
import type { CreateLockTableOptions } from "./table-options.ts";
import { createTableRequest, differences, type TableSpec, toTableSpec } from "./table-shape.ts";

export type { CreateLockTableOptions };

/**
 * A table, as DynamoDB describes it
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html).
 */
export interface LockTableDescription {
  readonly TableName?: string | undefined;
  readonly TableArn?: string | undefined;
  readonly TableId?: string | undefined;
  readonly TableStatus?: string | undefined;
  readonly CreationDateTime?: Date | undefined;
  readonly TableSizeBytes?: number | undefined;
  readonly ItemCount?: number | undefined;
  readonly KeySchema?: { AttributeName: string | undefined; KeyType: string | undefined }[] | undefined;
  readonly AttributeDefinitions?:
    | { AttributeName: string | undefined; AttributeType: string | undefined }[]
    | undefined;
  readonly BillingModeSummary?: { BillingMode?: string | undefined } | undefined;
  readonly ProvisionedThroughput?:
    | { ReadCapacityUnits?: number | undefined; WriteCapacityUnits?: number | undefined }
    | undefined;
  readonly OnDemandThroughput?:
    | { MaxReadRequestUnits?: number | undefined; MaxWriteRequestUnits?: number | undefined }
    | undefined;
  readonly WarmThroughput?:
    | { ReadUnitsPerSecond?: number | undefined; WriteUnitsPerSecond?: number | undefined; Status?: string | undefined }
    | undefined;
  readonly TableClassSummary?: { TableClass?: string | undefined } | undefined;
  readonly DeletionProtectionEnabled?: boolean | undefined;
  readonly StreamSpecification?:
    | { StreamEnabled: boolean | undefined; StreamViewType?: string | undefined }
    | undefined;
  readonly LatestStreamArn?: string | undefined;
  readonly SSEDescription?:
    | { Status?: string | undefined; SSEType?: string | undefined; KMSMasterKeyArn?: string | undefined }
    | undefined;
}

/**
 * Creates the table of locks with TTL on, and on demand unless the options say otherwise. Waits
 * until it can be used, and gives its description. Several programs may do so at once.
 *
 * A table that exists is left as it is, except that TTL is turned on. If it is not as the options
 * say, the error lists what differs: its keys and TTL attribute, and of the other options those
 * that were given. (Only `resourcePolicy` is not compared.)
 *
 * Needs `dynamodb:CreateTable`, `DescribeTable`, `DescribeTimeToLive` and `UpdateTimeToLive`. With
 * `tags` it also needs `TagResource` and `ListTagsOfResource`, with `resourcePolicy` also
 * `PutResourcePolicy`
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html), and with
 * `encryption: 'KMS'` the use of the key.
 *
 * @example
 * await createLockTable(new DynamoDBClient({ region: "eu-west-1" }), { tableName: "dynamo-locks", deletionProtection: true });
 *
 * @throws LockOptionsError, LockTableError, LockError
 */
export type CreateLockTable<TClient> = (
  client: TClient,
  options?: CreateLockTableOptions,
) => Promise<LockTableDescription>;

/** `rule`: for the first argument. */
export const createLockTableOver =
  <TClient>(connect: (client: TClient) => Transport, rule: Rule): CreateLockTable<TClient> =>
  async (client, options = {}) => {
    checkArgument("createLockTable", "client, the first argument,", client, rule);
    const spec = toTableSpec(options);
    const { send, close } = connect(client);
    try {
      const work: Work = { spec, request: tableRequests(send, spec.tableName), until: until(spec) };
      const { table, isOurs } = await untilActive(work);
      if (!isOurs) {
        const found = differences(spec, table, await tagsOf(work, table));
        refuse(spec, [...found, ...ttlDifferences(spec, await readTtl(work))]);
      }
      await untilTtlIsOn(work);
      return table;
    } finally {
      close();
    }
  };

interface Work {
  readonly spec: TableSpec;
  readonly request: ReturnType<typeof tableRequests>;
  readonly until: ReturnType<typeof until>;
}

interface Pending {
  readonly state: string;
  readonly cause?: unknown;
}

/** Looks until it is done, or until `waitMs` in all are over. */
const until = ({ tableName, clock = systemClock, waitMs = 300_000 }: TableSpec) => {
  const deadline = clock.monotonic() + waitMs;
  const late = ({ state, cause }: Pending) =>
    new LockTableError(`Table ${tableName}: ${state} after ${waitMs} ms: wait longer with waitMs, or call again`, {
      cause,
    });
  return <T>(look: () => Promise<Look<T, Pending>>): Promise<T> => poll(clock, deadline, look, late);
};

/** `isOurs`: the table was made here, and not by someone else at the same time. */
const untilActive = ({ spec, request, until }: Work): Promise<{ table: LockTableDescription; isOurs: boolean }> => {
  const { tableName } = spec;
  let isOurs = false;
  return until(async () => {
    const { Table: table } = await request("DescribeTable", { TableName: tableName }, /^ResourceNotFoundException/);
    const status: string = table?.TableStatus ?? "CREATING";
    if (status === "ACTIVE") return { done: { table, isOurs } };
    const advice = BROKEN[status];
    if (advice) throw new LockTableError(`Table ${tableName} is ${status}, and can't be used: ${advice}`);
    // Absent, or created a moment ago and not yet to be seen: creating it again is refused then,
    // and no harm.
    if (!table && !(await request("CreateTable", createTableRequest(spec), TABLE_IN_USE)).refusal) isOurs = true;
    return { pending: { state: `still ${status}` } };
  });
};

const untilTtlIsOn = (work: Work): Promise<boolean> => {
  const { spec, request, until } = work;
  return until(async () => {
    const ttl = await readTtl(work);
    refuse(spec, ttlDifferences(spec, ttl)); // somebody else may have been faster, and of another mind
    const { status } = ttl;
    if (status === "ENABLED" || (status === "ENABLING" && spec.waitForTtl === false)) return { done: true };
    const state = `TTL still ${status}`;
    if (status !== "DISABLED") return { pending: { state } };
    const { refusal } = await request("UpdateTimeToLive", ttlRequest(spec.tableName, spec.ttlAttribute), TTL_IS_BUSY);
    return { pending: { state, cause: refusal } };
  });
};

interface Ttl {
  readonly status: string;
  readonly attribute: string | undefined;
}

const readTtl = async ({ spec, request }: Work): Promise<Ttl> => {
  const { TimeToLiveDescription } = await request("DescribeTimeToLive", { TableName: spec.tableName });
  const { TimeToLiveStatus: status = "DISABLED", AttributeName: attribute } = TimeToLiveDescription ?? {};
  return { status, attribute };
};

const ttlDifferences = ({ ttlAttribute }: TableSpec, { status, attribute }: Ttl): string[] =>
  status.startsWith("ENABL") && attribute !== ttlAttribute
    ? [`TTL attribute is ${attribute}, not ${ttlAttribute}`]
    : [];

const refuse = ({ tableName }: TableSpec, found: readonly string[]): void => {
  if (found.length === 0) return;
  throw new LockTableError(
    `Table ${tableName} exists with another shape: ${found.join("; ")}. Change the options to what it is, or take another tableName`,
  );
};

const tagsOf = async ({ spec, request }: Work, { TableArn }: LockTableDescription): Promise<Map<string, string>> => {
  const tags = new Map<string, string>();
  if (!spec.tags || !TableArn) return tags;
  let NextToken: string | undefined;
  do {
    const page = await request("ListTagsOfResource", { ResourceArn: TableArn, NextToken });
    for (const { Key, Value } of page.Tags ?? []) tags.set(Key, Value);
    NextToken = page.NextToken;
  } while (NextToken);
  return tags;
};

const RESTORE = "restore it from its backup, or take another tableName";
/** Waiting doesn't bring a table out of these states. The advice does. */
const BROKEN: Readonly<Record<string, string>> = {
  ARCHIVING: RESTORE,
  ARCHIVED: RESTORE,
  INACCESSIBLE_ENCRYPTION_CREDENTIALS: "enable its KMS key, and allow DynamoDB to use it",
  REPLICATION_NOT_AUTHORIZED: "give its replicas the permissions that they lack",
};

/**
 * Refusals that pass: somebody enables TTL at the same time, or it was changed within the last
 * hour, or too much at once.
 */
const TTL_IS_BUSY =
  /^(ResourceInUse|LimitExceeded|Throttling)Exception|^ValidationException.*(already enabled|different attribute ?name|fixed interval)/i;
