/** `doctor`: whether the table, the permissions, the clock and the locks are as they should be. */
import { listLocks } from "../index.ts";
import { request, watchDate } from "./aws.ts";
import type { CommandCall } from "./call.ts";
import { CommandEnd, EXIT } from "./exit.ts";
import { type Finding, missingAttributes, probe } from "./probes.ts";
import { inOneLine, stateOf } from "./records.ts";
import { printable } from "./terminal.ts";
import { showDuration } from "./time.ts";

/** A client that trusts clocks allows so much (`clockSkewMs`). */
const SKEW_MS = 1_000;
const SLOW_MS = 100;
/** How long stale locks are looked for. */
const SCAN_MS = 10_000;
const SHOWN = 5;

export const doctorCommand = async (call: CommandCall): Promise<number> => {
  const aheadMs = watchDate(call.client);
  const findings = await allFindings(call, aheadMs);
  for (const finding of findings) tell(call, finding);
  const wrong = findings.filter(({ status }) => status === "warn" || status === "fail");
  if (wrong.length === 0) return EXIT.done;
  throw new CommandEnd(EXIT.found, `${wrong.length} of ${findings.length} checks found something`);
};

const allFindings = async (call: CommandCall, aheadMs: () => number | undefined): Promise<Finding[]> => {
  if (await isTableMissing(call)) {
    const remedy = `dynamo-lock --table ${call.tableName} table create, or another --table, --region or --profile`;
    return [{ check: "table", status: "fail", detail: `${call.tableName} is missing`, remedy }];
  }
  const shape = await tableFindings(call);
  const { findings: probes, latencies } = await probe(call);
  return [...shape, ...probes, clockFinding(aheadMs()), latencyFinding(latencies), await staleFinding(call)];
};

const causesOf = (error: unknown): string[] => (error instanceof Error ? [error.name, ...causesOf(error.cause)] : []);

/** Ends the command if DynamoDB can't be reached at all. */
const isTableMissing = async ({ whole }: CommandCall): Promise<boolean> => {
  try {
    await whole.get("doctor");
  } catch (error) {
    const names = causesOf(error);
    if (names.includes("ResourceNotFoundException")) return true;
    if (!names.includes("AccessDeniedException") && !names.includes("ValidationException")) throw error;
  }
  return false;
};

const tell = ({ options, data, paint }: CommandCall, finding: Finding): void => {
  if (options.json) {
    data(JSON.stringify(finding));
    return;
  }
  const { check, status, detail, remedy } = finding;
  const style = ({ ok: "green", warn: "yellow", fail: "red", unknown: "dim" } as const)[status];
  data(`${paint(style, status.padEnd(8))}${check.padEnd(24)}${printable(detail)}`);
  if (remedy) data(`        ${" ".repeat(24)}-> ${remedy}`);
};

const UNSEEN = "can't be looked at: it needs dynamodb:DescribeTable and DescribeTimeToLive";

/** Its keys, TTL, billing and replicas. */
const tableFindings = async ({ client, tableName, options }: CommandCall): Promise<Finding[]> => {
  const { keyAttribute = "lock_id", ttlAttribute = "ttl", sortKey } = options;
  const described = await request(client, "DescribeTable", { TableName: tableName }).catch(() => undefined);
  if (!described?.Table) return [{ check: "table", status: "unknown", detail: UNSEEN }];
  const { Table: table } = described;
  const { TimeToLiveDescription: ttl } = await request(client, "DescribeTimeToLive", { TableName: tableName }).catch(
    () => ({
      TimeToLiveDescription: undefined,
    }),
  );
  const wrongKeys = missingAttributes(table, keyAttribute, sortKey?.split("=")[0]);
  const isTtlOn = ttl?.TimeToLiveStatus?.startsWith("ENABL") === true;
  const isProvisioned =
    table.BillingModeSummary?.BillingMode !== "PAY_PER_REQUEST" && table.ProvisionedThroughput?.WriteCapacityUnits;
  const replicas = (table.Replicas ?? []).map(({ RegionName }) => RegionName);
  return [
    {
      check: "table",
      status: table.TableStatus === "ACTIVE" ? "ok" : "fail",
      detail: `${tableName} is ${table.TableStatus}, about ${table.ItemCount ?? 0} items`,
    },
    {
      check: "key schema",
      status: wrongKeys ? "fail" : "ok",
      detail: wrongKeys ?? `${keyAttribute} (S)`,
      ...(wrongKeys && {
        remedy: "name them with --key-attribute and --sort-key, as the functions do, or take a table of its own",
      }),
    },
    ttl === undefined
      ? { check: "TTL", status: "unknown", detail: UNSEEN }
      : {
          check: "TTL",
          status: isTtlOn && ttl.AttributeName === ttlAttribute ? "ok" : "fail",
          detail: isTtlOn ? `is on, by the attribute ${ttl.AttributeName}` : "is off: records stay for ever",
          ...((!isTtlOn || ttl.AttributeName !== ttlAttribute) && {
            remedy: `aws dynamodb update-time-to-live --table-name ${tableName} --time-to-live-specification Enabled=true,AttributeName=${ttlAttribute}`,
          }),
        },
    {
      check: "billing",
      status: "ok",
      detail: isProvisioned
        ? `provisioned: ${table.ProvisionedThroughput?.WriteCapacityUnits} write units a second. A lock is throttled beyond`
        : "on demand",
    },
    {
      check: "replicas",
      status: replicas.length > 0 && table.MultiRegionConsistency !== "STRONG" ? "warn" : "ok",
      detail:
        replicas.length > 0
          ? `${replicas.join(", ")}, consistency ${table.MultiRegionConsistency ?? "EVENTUAL"}`
          : "none",
      ...(replicas.length > 0 &&
        table.MultiRegionConsistency !== "STRONG" && {
          remedy: "use the table of one Region for locks: the last writer wins, and two Regions can both acquire",
        }),
    },
  ];
};

const clockFinding = (aheadMs: number | undefined): Finding => {
  const check = "clock";
  if (aheadMs === undefined) return { check, status: "unknown", detail: "the replies have no Date" };
  const by = showDuration(Math.abs(aheadMs));
  if (Math.abs(aheadMs) <= SKEW_MS)
    return { check, status: "ok", detail: `within ${showDuration(SKEW_MS)} of DynamoDB's (${by})` };
  const detail = `${by} ${aheadMs > 0 ? "ahead of" : "behind"} DynamoDB's: leases end ${aheadMs > 0 ? "early" : "late"} for this machine`;
  return {
    check,
    status: "fail",
    detail,
    remedy: "synchronise the clock (chrony, NTP), or set clockSkewMs, or expiry: 'observed'",
  };
};

const latencyFinding = (latencies: readonly number[]): Finding => {
  const median = latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length / 2)] ?? 0;
  const isSlow = median > SLOW_MS;
  const detail = `${showDuration(median)} for a request, the median of ${latencies.length}`;
  return {
    check: "latency",
    status: isSlow ? "warn" : "ok",
    detail,
    ...(isSlow && { remedy: "run in the table's Region, with a gateway endpoint for DynamoDB" }),
  };
};

/** Locks whose lease is over, and that nobody released: crashed runs. */
const staleFinding = async ({ whole, time }: CommandCall): Promise<Finding> => {
  const check = "stale locks";
  const end = performance.now() + SCAN_MS;
  const stale: string[] = [];
  let scanned = 0;
  let isWhole = true;
  try {
    for await (const record of listLocks(whole, { onPage: (page) => (scanned = page.scanned) })) {
      if (stateOf(record) === "stale") stale.push(inOneLine(record, time));
      isWhole = performance.now() < end;
      if (!isWhole) break;
    }
  } catch {
    return { check, status: "unknown", detail: "can't be looked for: it needs dynamodb:Scan" };
  }
  const of = `in ${scanned} items${isWhole ? "" : ", and not all were looked at"}`;
  if (stale.length === 0) return { check, status: "ok", detail: `none ${of}` };
  const detail = `${stale.length} ${of}: ${stale.slice(0, SHOWN).join("; ")}`;
  return {
    check,
    status: "warn",
    detail,
    remedy: "a run has crashed under each. dynamo-lock list --stale, and show KEY",
  };
};
