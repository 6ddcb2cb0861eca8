import {
  CreateTableCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  ListTagsOfResourceCommand,
  type TableDescription,
  type Tag,
  type TimeToLiveDescription,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";
import { systemClock } from "../common/clock.ts";
import { LockTableError } from "../common/errors.ts";
import { checkArgument } from "../common/rules.ts";
import { failureOf } from "../dynamodb/translate.ts";
import { CLIENT } from "../lock/options.ts";
import {
  type CreateLockTableOptions,
  createTableRequest,
  differences,
  type TableSpec,
  toTableSpec,
} from "./table-options.ts";

export type { CreateLockTableOptions };

/**
 * Creates the table of locks with TTL on, on demand unless the options say otherwise, waits until it can be used, and gives its
 * description. Several programs may do so at once.
 *
 * A table that exists is left as it is, except that TTL is turned on. If it is not as the options say, the error lists
 * what differs: its keys and TTL attribute, and of the other options those that were given. (Only `resourcePolicy` is not
 * compared: DynamoDB may give back an equal one in other words.)
 *
 * Needs `dynamodb:CreateTable`, `DescribeTable`, `DescribeTimeToLive` and `UpdateTimeToLive`; with `tags` also
 * `TagResource` and `ListTagsOfResource`, with `resourcePolicy` also `PutResourcePolicy`
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html), and with `encryption: 'KMS'` the use of
 * the key.
 *
 * @example
 * await createLockTable(new DynamoDBClient({ region: "eu-west-1" }), { tableName: "dynamo-locks", deletionProtection: true });
 *
 * @throws LockOptionsError, LockTableError, LockError
 */
export const createLockTable = async (
  client: DynamoDBClient,
  options: CreateLockTableOptions = {},
): Promise<TableDescription> => {
  checkArgument("createLockTable", "client, the first argument,", client, CLIENT);
  const spec = toTableSpec(options);
  const api = tableApi(client, spec);
  const pause = pauses(spec);

  const { table, created } = await untilActive(api, spec, pause);
  if (!created) {
    const tags = spec.tags && table.TableArn ? await api.listTags(table.TableArn) : [];
    refuse(spec, [...differences(spec, table, tags), ...ttlDifferences(spec, await api.describeTtl())]);
  }
  await untilTtlIsOn(api, spec, pause);
  return table;
};

/** Waits a little longer each time, and throws when the next time would be too late. */
type Pause = (what: string, cause?: unknown) => Promise<void>;

const FIRST_DELAY_MS = 20;
const MAX_DELAY_MS = 2_000;

const pauses = ({ tableName, clock = systemClock, waitMs = 300_000 }: TableSpec): Pause => {
  const deadline = clock.monotonic() + waitMs;
  let delayMs = FIRST_DELAY_MS;
  return async (what, cause) => {
    if (clock.monotonic() + delayMs > deadline) {
      const advice = "wait longer with waitMs, or call again";
      throw new LockTableError(`Table ${tableName}: ${what} after ${waitMs} ms: ${advice}`, { cause });
    }
    await clock.sleep(delayMs);
    delayMs = Math.min(2 * delayMs, MAX_DELAY_MS);
  };
};

const RESTORE = "restore it from its backup, or take another tableName";
/** Out of these states a table doesn't come by waiting, but by what is said. */
const BROKEN: Readonly<Record<string, string>> = {
  ARCHIVING: RESTORE,
  ARCHIVED: RESTORE,
  INACCESSIBLE_ENCRYPTION_CREDENTIALS: "enable its KMS key, and allow DynamoDB to use it",
  REPLICATION_NOT_AUTHORIZED: "give its replicas the permissions that they lack",
};

/** `created` by us, and not by someone else at the same time. */
const untilActive = async (api: TableApi, spec: TableSpec, pause: Pause) => {
  let created = false;
  for (;;) {
    const table = await api.describe();
    const status = table?.TableStatus;
    if (table && status === "ACTIVE") return { table, created };
    const advice = BROKEN[status ?? ""];
    if (advice) throw new LockTableError(`Table ${spec.tableName} is ${status}, and can't be used: ${advice}`);
    // Absent, or created a moment ago and not yet to be seen: creating it again is refused then, and no harm.
    if (!table && (await api.create())) created = true;
    await pause(`still ${status ?? "CREATING"}`);
  }
};

const untilTtlIsOn = async (api: TableApi, spec: TableSpec, pause: Pause): Promise<void> => {
  for (;;) {
    const ttl = await api.describeTtl();
    refuse(spec, ttlDifferences(spec, ttl)); // somebody else may have been faster, and of another mind
    const status = ttl.TimeToLiveStatus;
    if (status === "ENABLED" || (status === "ENABLING" && spec.waitForTtl === false)) return;
    const refusal = status === "ENABLING" || status === "DISABLING" ? undefined : await api.enableTtl();
    await pause(`TTL still ${status ?? "DISABLED"}`, refusal);
  }
};

const ttlDifferences = ({ ttlAttribute }: TableSpec, { TimeToLiveStatus, AttributeName }: TimeToLiveDescription) =>
  (TimeToLiveStatus === "ENABLED" || TimeToLiveStatus === "ENABLING") && AttributeName !== ttlAttribute
    ? [`TTL attribute is ${AttributeName}, not ${ttlAttribute}`]
    : [];

const refuse = ({ tableName }: TableSpec, found: string[]): void => {
  if (found.length === 0) return;
  throw new LockTableError(
    `Table ${tableName} exists with another shape: ${found.join("; ")}. Change the options to what it is, or take another tableName`,
  );
};

/** Refusals that pass: somebody enables TTL at the same time, or it was changed within the last hour, or too much at once. */
const TTL_IS_BUSY = /already enabled|different attribute ?name|fixed interval/i;
const BUSY = ["ResourceInUseException", "LimitExceededException", "ThrottlingException"];

type TableApi = ReturnType<typeof tableApi>;

/** The requests, with AWS's errors turned into ours. */
const tableApi = (client: DynamoDBClient, spec: TableSpec) => {
  const { tableName } = spec;
  const fail = (action: string, error: unknown): never => {
    throw failureOf(action, tableName, error);
  };
  return {
    async describe(): Promise<TableDescription | undefined> {
      try {
        return (await client.send(new DescribeTableCommand({ TableName: tableName }))).Table;
      } catch (error) {
        return (error as Error).name === "ResourceNotFoundException"
          ? undefined
          : fail("DescribeTable", error as Error);
      }
    },
    /** `false`: it exists, or is being created or deleted. */
    async create(): Promise<boolean> {
      try {
        await client.send(new CreateTableCommand(createTableRequest(spec)));
        return true;
      } catch (error) {
        return (error as Error).name === "ResourceInUseException" ? false : fail("CreateTable", error as Error);
      }
    },
    async describeTtl(): Promise<TimeToLiveDescription> {
      const command = new DescribeTimeToLiveCommand({ TableName: tableName });
      const reply = await client.send(command).catch((error: Error) => fail("DescribeTimeToLive", error));
      return reply.TimeToLiveDescription ?? {};
    },
    /** The refusal, if it is one that may pass. */
    async enableTtl(): Promise<Error | undefined> {
      const TimeToLiveSpecification = { Enabled: true, AttributeName: spec.ttlAttribute };
      try {
        await client.send(new UpdateTimeToLiveCommand({ TableName: tableName, TimeToLiveSpecification }));
        return undefined;
      } catch (error) {
        const { name, message } = error as Error;
        const passes = BUSY.includes(name) || (name === "ValidationException" && TTL_IS_BUSY.test(message));
        return passes ? (error as Error) : fail("UpdateTimeToLive", error as Error);
      }
    },
    async listTags(ResourceArn: string): Promise<Tag[]> {
      const tags: Tag[] = [];
      let NextToken: string | undefined;
      do {
        const command = new ListTagsOfResourceCommand({ ResourceArn, NextToken });
        const reply = await client.send(command).catch((error: Error) => fail("ListTagsOfResource", error));
        tags.push(...(reply.Tags ?? []));
        NextToken = reply.NextToken;
      } while (NextToken);
      return tags;
    },
  };
};
