/** Draws what happened: one line per invocation, to scale, on one time axis for all scenes; then the records. */
import { styleText } from "node:util";
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import { CLOCK_SKEW_MS, type Fate, fateOf, type Sandbox } from "./sandbox.ts";
import type { Scene } from "./stage.ts";

const LABEL_WIDTH = 20;
const AXIS_WIDTH = 44;
const SECOND = 1_000;

const STYLES = {
  ran: "green",
  "took over": "green",
  replayed: "cyan",
  refused: "yellow",
  "bad request": "yellow",
  threw: "red",
  killed: "red",
  failed: "red",
} as const satisfies Record<Fate, string>;

/** Where an invocation ended, if it did not end well. */
const MARKS: Partial<Record<Fate, string>> = {
  replayed: "↺",
  refused: "×",
  "bad request": "×",
  threw: "!",
  killed: "X",
  failed: "!",
};

const LEGEND = [
  "█ the handler works   ░ around it, requests to DynamoDB   ! it throws   X its process is killed",
  "× turned away   ↺ answered from the record: in both, the handler does not run",
  "┄ nobody may run yet: until the lease ends, and 1 s longer because clocks may differ",
];

export function drawTimeline(scenes: Scene[]): string {
  const spans = scenes.map(({ sandboxes }) => endOf(sandboxes) - startOf(sandboxes));
  const msPerColumn = Math.max(...spans) / (AXIS_WIDTH - 1);
  const axis = Array<string>(AXIS_WIDTH + 4).fill(" ");
  for (let ms = 0; ms / msPerColumn < AXIS_WIDTH; ms += SECOND) {
    axis.splice(Math.floor(ms / msPerColumn), 3, ...`${ms / SECOND} s`);
  }
  return [
    ...LEGEND.map((line) => styleText("dim", line)),
    "",
    " ".repeat(LABEL_WIDTH) + axis.join("").trimEnd(),
    ...scenes.map((scene, index) => drawScene(scene, index + 1, msPerColumn)),
  ].join("\n");
}

function drawScene({ title, key, sandboxes, promises }: Scene, number: number, msPerColumn: number): string {
  const from = startOf(sandboxes);
  const rows = sandboxes.map((sandbox) => {
    const fate = fateOf(sandbox);
    const bar = drawBar(sandbox, fate, (time) => Math.floor((time - from) / msPerColumn), SECOND / msPerColumn);
    return `  ${sandbox.label.padEnd(LABEL_WIDTH - 2)}${bar} ${styleText(STYLES[fate], describe(sandbox, fate))}`;
  });
  const checks = promises.map(({ text, kept }) => (kept ? `✓ ${text}` : styleText("red", `✗ ${text}`)));
  return [`${styleText("bold", `${number}. ${title}`)}  ${key}`, ...rows, `  ${checks.join("  ")}`, ""].join("\n");
}

function drawBar(sandbox: Sandbox, fate: Fate, column: (time: number) => number, columnsPerSecond: number): string {
  const { outcome, runs, timeoutMs } = sandbox;
  const cells = Array.from({ length: AXIS_WIDTH }, () => " ");
  for (let tick = 0; tick < AXIS_WIDTH; tick += columnsPerSecond) cells[Math.floor(tick)] = styleText("dim", "·");
  const draw = (character: string | undefined, from: number, to: number) =>
    character && cells.fill(styleText(STYLES[fate], character), column(from), column(to) + 1);

  draw("░", outcome.startedAt, outcome.endedAt);
  if (fate === "killed") draw("┄", outcome.endedAt, outcome.startedAt + timeoutMs + CLOCK_SKEW_MS);
  for (const { from, to } of runs) draw("█", from, to);
  draw(MARKS[fate], outcome.endedAt, outcome.endedAt);
  return cells.join("");
}

function describe({ outcome, runs, records, returned }: Sandbox, fate: Fate): string {
  if (outcome.type === "killed") return "killed";
  if (outcome.type === "error") {
    return fate === "refused" ? `turned away: ${outcome.name}` : `${fate}: ${outcome.message}`;
  }
  if (records > 1) {
    const shipped = runs.filter(({ done }) => done).length;
    const parts = { shipped, dropped: records - shipped - returned.length, "back to the queue": returned.length };
    return Object.entries(parts)
      .flatMap(([what, count]) => (count > 0 ? [`${count} ${what}`] : []))
      .join(", ");
  }
  const { statusCode, body, reportId } = Object(outcome.response);
  const id = reportId ?? (statusCode === 200 ? JSON.parse(body).paymentId : undefined);
  return [verbs[fate] ?? fate, statusCode, id?.slice(0, 8)].filter(Boolean).join(", ");
}

const verbs: Partial<Record<Fate, string>> = {
  "took over": "took over and ran",
  replayed: "not run",
  refused: "turned away",
};

const startOf = (sandboxes: readonly Sandbox[]) => Math.min(...sandboxes.map(({ outcome }) => outcome.startedAt));
const endOf = (sandboxes: readonly Sandbox[]) => Math.max(...sandboxes.map(({ outcome }) => outcome.endedAt));

const COLUMNS = [
  "status: FINISHED is remembered, so that repeats do not run   by: the invocation above that wrote the record",
  "fencing token: greater at each acquisition of a key; it began at the clock, in ms   blocks for: how long repeats do not run",
  "response: what is stored in the record, and given to repeats",
];

/** The records that are left in the table, in the order of the scenes. */
export function drawRecords(items: Record<string, AttributeValue>[], scenes: Scene[]): string {
  const header = ["Record left in the table", "status", "by", "fencing token", "blocks for", "response"];
  const rows = scenes.map(({ key, sandboxes }) => {
    const item = items.find(({ lock_id }) => lock_id?.S === key);
    if (!item) return [key, "missing"];
    const owner = sandboxes.find(({ requestId }) => requestId === item.owner_id?.S);
    const hours = Math.round((Number(item.expires_at?.N) - Date.now()) / 3_600_000);
    const response = item.result?.S ? `${item.result.S.length} bytes` : item.result?.NULL ? "undefined" : "none";
    return [key, item.status?.S ?? "?", owner?.label ?? "?", item.fence?.N ?? "?", `${hours} h`, response];
  });
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0)));
  const draw = (row: string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  const legend = COLUMNS.map((line) => styleText("dim", line));
  return [...legend, styleText("bold", draw(header)), ...rows.map(draw)].map((line) => line.trimEnd()).join("\n");
}
