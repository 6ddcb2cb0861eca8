/** The options as the sources declare them: their names by the rules, their texts and defaults by the types. */
import { readdirSync, readFileSync } from "node:fs";
import { DYNAMO_LOCK_BATCH_RULES } from "../../src/batch/options.ts";
import {
  ACQUIRE_RULES,
  COMMIT_ONCE_RULES,
  LOCK_CLIENT_RULES,
  ONCE_RULES,
  RUN_RULES,
  TRY_ACQUIRE_RULES,
} from "../../src/client/options.ts";
import { WAIT_UNTIL_FINISHED_RULES } from "../../src/client/wait-until-finished.ts";
import { DYNAMO_COMMIT_RULES } from "../../src/commit/options.ts";
import { type Rules, wordsOf } from "../../src/common/rules.ts";
import { DYNAMO_LOCK_RULES } from "../../src/invocation/options.ts";
import { COMMIT_RULES, FINISH_RULES, RELEASE_RULES } from "../../src/lock/settle-options.ts";
import { DESCRIBE_LOCK_RULES } from "../../src/operate/describe.ts";
import { BREAK_LOCK_RULES, FINISH_LOCK_RULES } from "../../src/operate/operator-options.ts";
import { LIST_LOCKS_RULES, PURGE_LOCKS_RULES } from "../../src/operate/options.ts";
import { createLockTableRules } from "../../src/operate/table-shape.ts";
import {
  ACQUIRE_PERMIT_RULES,
  DYNAMO_SEMAPHORE_RULES,
  RUN_PERMIT_RULES,
  SEMAPHORE_RULES,
  TRY_ACQUIRE_PERMIT_RULES,
} from "../../src/semaphore/options.ts";

/** A function, the rules of its options, and their type. With `as`, its options are told by the difference. */
interface Door {
  readonly title: string;
  readonly rules: Rules<Record<string, unknown>>;
  readonly type: string;
  readonly as?: string;
}

export const DOORS: readonly Door[] = [
  { title: "`dynamoLock`, `withLock`", rules: DYNAMO_LOCK_RULES, type: "DynamoLockOptions" },
  { title: "`dynamoLockBatch`, `withLockBatch`", rules: DYNAMO_LOCK_BATCH_RULES, type: "DynamoLockBatchOptions" },
  { title: "`dynamoSemaphore`, `withSemaphore`", rules: DYNAMO_SEMAPHORE_RULES, type: "DynamoSemaphoreOptions" },
  { title: "`dynamoCommit`, `withCommit`", rules: DYNAMO_COMMIT_RULES, type: "DynamoCommitOptions" },
  { title: "`LockClient`", rules: LOCK_CLIENT_RULES, type: "LockClientOptions" },
  { title: "`acquire`", rules: ACQUIRE_RULES, type: "AcquireOptions" },
  { title: "`tryAcquire`", rules: TRY_ACQUIRE_RULES, type: "TryAcquireOptions", as: "`acquire`" },
  { title: "`run`", rules: RUN_RULES, type: "RunOptions", as: "`acquire`" },
  { title: "`once`", rules: ONCE_RULES, type: "OnceOptions", as: "`acquire`" },
  { title: "`semaphore`", rules: SEMAPHORE_RULES, type: "SemaphoreOptions" },
  { title: "`acquire` of a semaphore", rules: ACQUIRE_PERMIT_RULES, type: "AcquirePermitOptions", as: "`acquire`" },
  {
    title: "`tryAcquire` of a semaphore",
    rules: TRY_ACQUIRE_PERMIT_RULES,
    type: "TryAcquirePermitOptions",
    as: "`acquire` of a semaphore",
  },
  { title: "`run` of a semaphore", rules: RUN_PERMIT_RULES, type: "RunPermitOptions", as: "`acquire` of a semaphore" },
  { title: "`waitUntilFinished`", rules: WAIT_UNTIL_FINISHED_RULES, type: "WaitUntilFinishedOptions" },
  { title: "`lock.finish`", rules: FINISH_RULES, type: "FinishOptions" },
  { title: "`lock.commit`", rules: COMMIT_RULES, type: "CommitOptions", as: "`lock.finish`" },
  { title: "`commitOnce`", rules: COMMIT_ONCE_RULES, type: "CommitOnceOptions", as: "`lock.commit`" },
  { title: "`lock.release`", rules: RELEASE_RULES, type: "ReleaseOptions", as: "`lock.finish`" },
  { title: "`listLocks`", rules: LIST_LOCKS_RULES, type: "ListLocksFilter" },
  { title: "`purgeLocks`", rules: PURGE_LOCKS_RULES, type: "PurgeLocksOptions" },
  { title: "`breakLock`, `forgetLock`", rules: BREAK_LOCK_RULES, type: "BreakLockOptions" },
  { title: "`finishLock`", rules: FINISH_LOCK_RULES, type: "FinishLockOptions" },
  { title: "`describeLock`", rules: DESCRIBE_LOCK_RULES, type: "DescribeLockOptions" },
  { title: "`createLockTable`", rules: createLockTableRules(), type: "CreateLockTableOptions" },
];

interface Declared {
  readonly text: string;
  /** As a cell of a table; `none` where the type names none. */
  readonly default: string;
}

const src = new URL("../../src/", import.meta.url);
const sources = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const INTERFACE = /^(?:export )?interface (\w+)([^{]*)\{(\}|.*?^\})/gms;

/** The interfaces of all sources: what each extends, and its own body. */
const interfaces = new Map(
  sources.flatMap((file) =>
    [...readFileSync(new URL(file, src), "utf8").matchAll(INTERFACE)].map(
      ([, name = "", head = "", body = ""]) => [name, { parents: head.split(/\bextends\b/)[1] ?? "", body }] as const,
    ),
  ),
);

/** The options that a type declares, its own before those that it takes from others. */
export const declaredBy = (type: string): Map<string, Declared> => {
  const { parents, body } = interfaces.get(type) ?? { parents: "", body: "" };
  const own = [...body.matchAll(/^(?: {2}\/\*\*((?:(?!\*\/).)*)\*\/\n)? {2}readonly (\w+)\??:/gms)].map(
    ([, comment = "", name = ""]) => [name, describe(comment)] as const,
  );
  const inherited = [...parents.matchAll(/(Pick|Omit)<(\w+)(?:<\w+>)?, ([^>]*)>|(\w+)/g)].flatMap(
    ([, utility, from, names = "", whole]) =>
      [...declaredBy(from ?? whole ?? "")].filter(
        ([name]) => !utility || names.includes(`"${name}"`) === (utility === "Pick"),
      ),
  );
  return new Map([...inherited, ...own]);
};

const describe = (comment: string): Declared => {
  const [text = "", ...tags] = comment.replace(/^ *\* ?/gm, "").split(/^\s*@/m);
  const given = tags.find((tag) => tag.startsWith("default "))?.slice("default ".length);
  return { text: oneLine(text), default: numbers(oneLine(given ?? "none")) };
};

const oneLine = (text: string) => text.replace(/\s+/g, " ").trim();
const numbers = (text: string) => text.replace(/(?<=\d)_(?=\d)/g, ",");

/** A value as a cell of a table writes it. */
export const cellOf = (value: unknown): string =>
  typeof value === "number" ? value.toLocaleString("en-US") : typeof value === "string" ? value : oneLine(show(value));

const show = (value: unknown) =>
  JSON.stringify(value)
    .replace(/"(\w+)":/g, " $1: ")
    .replace(/\}$/, " }");

/** The rows of a table: name, what it may be, default, and the first sentence about it. */
const rowsOf = ({ rules, type }: Door, names: readonly string[]) => {
  const declared = declaredBy(type);
  return names.map((name) => {
    const { text = "", default: holds = "none" } = declared.get(name) ?? {};
    const phrase = text.replace(/ \(https:[^)]*\)/g, "").split(/\.(?: |$)/)[0] ?? "";
    const cells = [`\`${name}\``, wordsOf(rules[name] ?? ""), holds, phrase];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
};

const listed = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(", ");

/** A section about a function: all its options, or what they have that those of another don't. */
const sectionOf = (door: Door): string => {
  const names = Object.keys(door.rules);
  const modelRules: Door["rules"] = DOORS.find(({ title }) => title === door.as)?.rules ?? {};
  const model = Object.keys(modelRules);
  const others = names.filter((name) => door.rules[name] !== modelRules[name]);
  const missing = model.filter((name) => !names.includes(name));
  const without = missing.length > 0 ? `, without ${listed(missing)}` : "";
  const intro = door.as ? `As ${door.as}${without}${others.length > 0 ? ", and:" : "."}\n\n` : "";
  const head = "| option | what it may be | default | |\n|---|---|---|---|\n";
  const table = others.length > 0 ? `${head}${rowsOf(door, others).join("\n")}\n` : "";
  return `## ${door.title}\n\n${intro}${table}`.trimEnd();
};

/** The page of all options. */
export const optionsPage = (): string =>
  `# Options

<!-- Made from the declarations: vitest run test/options-tables.test.ts -u -->

Times are in milliseconds. A value that an option can't have, and a name that a function doesn't have, are errors that say
what it may be, in the words of these tables. What more there is to know of an option is in the types, beside it.

${DOORS.map(sectionOf).join("\n\n")}
`;
