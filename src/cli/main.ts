/** The commands and their options, and how a call of them ends. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { type CommandCall, type GlobalOptions, openCall } from "./call.ts";
import { changeCommand, purgeCommand } from "./change.ts";
import { completion, SHELLS } from "./completion.ts";
import { doctorCommand } from "./doctor.ts";
import { EXIT, endOf } from "./exit.ts";
import { listCommand, showCommand, waitCommand } from "./look.ts";
import { runCommand } from "./run.ts";
import { createCommand, FORMATS, printTable } from "./tables.ts";
import { parseDuration, parseWhole } from "./time.ts";
import { watchCommand } from "./watch.ts";

// biome-ignore lint/suspicious/noExplicitAny: commander gives the options as they are declared below
type Given = any;
type Action = (call: CommandCall, args: readonly Given[], options: Given) => Promise<number>;

const EPILOGUE = `
Keys are as they are stored, such as report#2026-11-21. With --namespace they are those of that namespace, too.
Durations: 500ms 30s 10m 2h 7d.

Exit codes: 0 done; 2 a guard or a confirmation is missing; 3 free, or nothing matched; 4 changed hands; 64 usage;
69 DynamoDB is unreachable, or the table is missing; 75 held; 76 lost; 77 no permission; 78 the doctor found something;
124 timeout; 126, 127, 128+n as a shell; of run, else the command's own.`;

/** Declares the commands. `act` is called with what is to be done. */
export const createProgram = (act: (action: Action, args: readonly Given[], options: Given) => void): Command => {
  const program = new Command("dynamo-lock")
    .description("See and change the locks of a DynamoDB table, and run commands under them")
    .option("--table <name>", "name or ARN of the table (default: DYNAMO_LOCK_TABLE, or dynamo-locks)")
    .option("--namespace <name>", "the locks of one namespace: of a function, its name")
    .option("--region <region>", "AWS Region")
    .option("--profile <name>", "profile of the AWS configuration")
    .option("--endpoint <url>", "another DynamoDB, such as DynamoDB Local")
    .option("--key-attribute <name>", "the table's partition key (default: lock_id)")
    .option("--ttl-attribute <name>", "the table's TTL attribute (default: ttl)")
    .option("--sort-key <attribute=value>", "for a table that has a sort key")
    .option("--json", "one JSON object a line")
    .option("--time-zone <zone>", "IANA time zone of the times (default: this machine's)")
    .option("--quiet", "nothing on stderr but errors")
    .version(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version)
    .addHelpText("after", EPILOGUE)
    .showHelpAfterError("(dynamo-lock --help shows the commands and their options)")
    .exitOverride();
  const command = (usage: string, description: string, action: Action): Command =>
    program
      .command(usage)
      .description(description)
      .action((...all: Given[]) => act(action, all.slice(0, -2), all.at(-2)));
  const guarded = (usage: string, description: string, action: Action): Command =>
    command(usage, description, action)
      .option(
        "--fence <number>",
        "fencing token of the acquisition that you saw; of a semaphore it names the holder",
        parseWhole,
      )
      .option("--token <token>", "token of that acquisition, in place of its fence")
      .option("--why <text>", "the reason: kept in the record, and told to the one who loses the lock");

  command("list", "the locks of the table", (call, _, options) => listCommand(call, options))
    .option("--held", "only those that are held")
    .option("--stale", "only those whose lease is over, and that nobody released")
    .option("--finished", "only those that are finished")
    .option("--released", "only those that are released")
    .option("--owner <name>", "only those of this owner")
    .option("--prefix <text>", "only keys that begin so")
    .option("--older <duration>", "only those that were acquired longer ago", parseDuration)
    .option("--watch", "again every 2 s, until it is interrupted");
  command("show <key>", "one lock, and why it is free or not", (call, [key], options) =>
    showCommand(call, key, options),
  ).option("--result", "with its stored response");
  command("watch [key]", "changes of locks as they happen", (call, [key], options) => watchCommand(call, key, options))
    .option("--prefix <text>", "only keys that begin so")
    .addOption(
      new Option("--until <state>", "end when no key is held, or all are finished").choices(["free", "finished"]),
    )
    .option("--timeout <duration>", "with --until: how long at most", parseDuration)
    .option("--interval <duration>", "from one look to the next (default: 1s)", parseDuration);
  command("run <keys...>", "run a command while holding keys: run KEY... -- COMMAND...", (call, [keys], options) =>
    runCommand(call, keys, options),
  )
    .option("--wait <duration>", "how long to wait for the keys (default: not at all)", parseDuration)
    .option("--lease <duration>", "length of the lease, which is renewed (default: 20s)", parseDuration)
    .option("--permits <number>", "let so many hold the key at once", parseWhole)
    .option("--once", "remember success: a repeat does not run, and ends with 0")
    .option("--remember <duration>", "with --once: how long (default: 1h)", parseDuration)
    .option("--timeout <duration>", "end the command after this long, with exit code 124", parseDuration)
    .option("--kill-after <duration>", "from TERM to KILL (default: 5s)", parseDuration)
    .option("--why <text>", "the reason, kept as the record's data")
    .option("--conflict-exit-code <number>", "in place of 75 when a key is held", parseWhole);
  guarded("break <key>", "free a held lock, or a permit of a semaphore", (call, [key], options) =>
    changeCommand(call, "break", key, options),
  );
  guarded("forget <key>", "make a finished key run again at its next delivery", (call, [key], options) =>
    changeCommand(call, "forget", key, options),
  );
  guarded("finish <key>", "finish a held key for a process that can't say so any more", (call, [key], options) =>
    changeCommand(call, "finish", key, options),
  )
    .option("--status <text>", "a status of the application's own")
    .option("--result <json>", "the response that repeats get")
    .option("--remember <duration>", "how long repeats don't run (default: 1h)", parseDuration);
  command("purge", "delete records that nobody needs", (call, _, options) => purgeCommand(call, options))
    .option("--older <duration>", "also whatever has not been written for this long, held or remembered", parseDuration)
    .option("--finished", "also finished records whose time is not over: their keys can run again")
    .option("--prefix <text>", "only keys that begin so")
    .option("--dry-run", "delete nothing, and show what would be deleted")
    .option("--yes", "delete");
  command("wait <keys...>", "wait until nobody holds the keys", (call, [keys], options) =>
    waitCommand(call, keys, options),
  ).option("--timeout <duration>", "how long at most (default: 5m)", parseDuration);
  command("doctor", "check the table, the permissions, the clock, and for stale locks", (call) => doctorCommand(call));

  const tables = program.command("table").description("create a table of locks, or print its definition");
  tables
    .command("create")
    .description("create the table, with TTL on")
    .option("--deletion-protection", "refuse to delete the table")
    .action((options, { args }) => act((call) => createCommand(call, options), args, options));
  tables
    .command("print")
    .description("print the definition of the table")
    .addOption(new Option("--as <format>", "the form").choices(FORMATS).makeOptionMandatory())
    .action((options, { args }) => act(async (call) => printTable(call, options.as), args, options));
  program
    .command("completion")
    .description("print a completion script: source <(dynamo-lock completion bash)")
    .addArgument(program.createArgument("<shell>").choices(SHELLS))
    .action((shell) =>
      act(
        async (call) => {
          call.data(completion(shell, program));
          return EXIT.done;
        },
        [shell],
        {},
      ),
    );
  return program;
};

/** Splits at the first `--`: what is after it belongs to the command that `run` runs. */
const splitArguments = (args: readonly string[]): [own: string[], child: string[] | undefined] => {
  const at = args.indexOf("--");
  return at < 0 ? [[...args], undefined] : [args.slice(0, at), args.slice(at + 1)];
};

/** Gives the exit code. */
export const main = async (args: readonly string[]): Promise<number> => {
  const [own, child] = splitArguments(args);
  let todo: ((call: CommandCall) => Promise<number>) | undefined;
  const program = createProgram((action, operands, options) => {
    todo = (call) => action(call, operands, { ...options, child });
  });
  try {
    program.parse(own, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    throw error;
  }
  if (!todo) return EXIT.usage;
  let call: CommandCall | undefined;
  try {
    call = openCall(program.opts<GlobalOptions>());
    return await todo(call);
  } catch (error) {
    const { exitCode, message } = endOf(error);
    process.stderr.write(`dynamo-lock: ${message}\n`);
    return exitCode;
  } finally {
    await call?.close().catch(() => {}); // what is still held has been reported, or its lease ends it
  }
};
