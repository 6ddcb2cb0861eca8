/** One call of the command: its table, its key readings, its output. */
import { hostname, userInfo } from "node:os";
import { LockClient, type LockClientOptions, type LockEvent, type LockRecord } from "../index.ts";
import { createDynamoDB, type DynamoDB } from "./aws.ts";
import { CommandEnd, EXIT } from "./exit.ts";
import { inOneLine } from "./records.ts";
import { createTerminal, type Terminal } from "./terminal.ts";
import { clockOf } from "./time.ts";

/** The options that every command takes. */
export interface GlobalOptions {
  readonly table?: string;
  readonly namespace?: string;
  readonly region?: string;
  readonly profile?: string;
  readonly endpoint?: string;
  readonly keyAttribute?: string;
  readonly ttlAttribute?: string;
  readonly sortKey?: string;
  readonly json?: boolean;
  readonly timeZone?: string;
  readonly quiet?: boolean;
}

export interface CommandCall extends Terminal {
  readonly options: GlobalOptions;
  readonly client: DynamoDB;
  readonly tableName: string;
  /** In the namespace of the call, if it has one. */
  readonly locks: LockClient;
  /** On the whole table, where keys are as they are stored. */
  readonly whole: LockClient;
  /** The person at the terminal: `ann@laptop`. */
  readonly by: string;
  readonly time: (epochMs: number) => string;
  /** Opens another client on the same table. */
  open(options: LockClientOptions): LockClient;
  /** The record that a key means: of the namespace, or as it is stored. */
  lookUp(key: string): Promise<{ readonly key: string; readonly record: LockRecord | undefined }>;
  close(): Promise<void>;
}

const userName = (): string => {
  try {
    return userInfo().username;
  } catch {
    return process.env.USER ?? String(process.getuid?.() ?? "somebody"); // a container may have no name for its user
  }
};

export const openCall = (options: GlobalOptions): CommandCall => {
  const { table: tableName = process.env.DYNAMO_LOCK_TABLE || "dynamo-locks", namespace, timeZone } = options;
  const terminal = createTerminal(options.quiet === true);
  const client = createDynamoDB(options);
  const by = `${userName()}@${hostname()}`;
  const [attribute, value] = options.sortKey?.split(/=(.*)/s) ?? [];
  if (attribute !== undefined && !value) throw new CommandEnd(EXIT.usage, "--sort-key must be ATTRIBUTE=VALUE");
  const onEvent = (event: LockEvent) => {
    if (event.type === "retrying") terminal.progress(`DynamoDB doesn't answer, trying again: ${event.error}`);
  };
  const open = (own: LockClientOptions): LockClient =>
    new LockClient({
      client,
      tableName,
      keyAttribute: options.keyAttribute,
      ttlAttribute: options.ttlAttribute,
      sortKey: attribute !== undefined && value ? { attribute, value } : undefined,
      owner: by,
      onEvent,
      ...own,
    });
  let time: CommandCall["time"];
  try {
    time = clockOf(timeZone);
  } catch {
    throw new CommandEnd(EXIT.usage, `--time-zone must be an IANA time zone such as Europe/Berlin, got ${timeZone}`);
  }
  const whole = open({});
  return {
    ...terminal,
    options,
    client,
    tableName,
    locks: namespace === undefined ? whole : open({ namespace }),
    whole,
    by,
    time,
    open,
    async lookUp(key) {
      const prefix = namespace === undefined ? "" : `${namespace}#`;
      const readings = prefix && key.startsWith(prefix) ? [key, prefix + key] : [prefix + key];
      const records = await Promise.all(readings.map((reading) => whole.get(reading)));
      const [record, other] = records.filter((each) => each !== undefined);
      if (record && other) {
        for (const each of [record, other]) terminal.say(`  ${inOneLine(each, time)}`);
        throw new CommandEnd(
          EXIT.refused,
          `The key can be read in two ways, and both are there. Leave --namespace away, and give the key as it is stored`,
        );
      }
      return { key: record?.key ?? (readings.at(-1) as string), record };
    },
    async close() {
      await whole.close();
      client.destroy();
    },
  };
};
