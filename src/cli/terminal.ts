/** Data go to stdout, talk goes to stderr. Colours and redrawing are for terminals only. */

export interface Terminal {
  /** Whether what is on stdout may be redrawn. */
  readonly isLive: boolean;
  readonly columns: number;
  /** One line of data. */
  data(line: string): void;
  /** Begins the screen anew. */
  clear(): void;
  /** One line for people. */
  say(line: string): void;
  /** A line for people that the next one replaces, on a terminal. */
  progress(line: string): void;
  readonly paint: (style: Style, text: string) => string;
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof STYLES;

export const createTerminal = (isQuiet: boolean, { stdout, stderr, env } = process): Terminal => {
  const isColoured = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  let isProgressShown = false;
  const clearProgress = () => {
    if (isProgressShown) stderr.write("\r\x1b[K");
    isProgressShown = false;
  };
  return {
    isLive: stdout.isTTY === true,
    columns: stdout.columns ?? 100,
    data(line) {
      clearProgress();
      stdout.write(`${line}\n`);
    },
    clear() {
      stdout.write("\x1b[2J\x1b[H");
    },
    say(line) {
      clearProgress();
      if (!isQuiet) stderr.write(`${line}\n`);
    },
    progress(line) {
      if (isQuiet || !stderr.isTTY) return;
      stderr.write(`\r\x1b[K${line}`);
      isProgressShown = true;
    },
    paint: (style, text) => (isColoured ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text),
  };
};

/** Columns, as wide as their widest cell. */
export const table = (rows: readonly (readonly string[])[]): string[] => {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, n) => Math.max(most[n] ?? 0, cell.length)), []);
  return rows.map((row) =>
    row.map((cell, n) => (n === row.length - 1 ? cell : cell.padEnd(widths[n] ?? 0))).join("  "),
  );
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to find
const CONTROLS = /[\x00-\x1f\x7f-\x9f]/g;
const escaped = (text: string) =>
  text.replace(CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A text in a record may move the cursor, or colour the screen: it is shown with JSON escapes. */
export const printable = (text: string): string => escaped(text);

/** For a shell, to be copied. What may move the cursor stands there as an escape, which bash and zsh read back. */
export const quote = (text: string): string => {
  if (/^[\w@%+=:,./-][\w@%+=:,./#-]*$/.test(text)) return text;
  if (text.search(CONTROLS) >= 0) return `$'${escaped(text.replace(/[\\']/g, "\\$&"))}'`;
  return `'${text.replaceAll("'", "'\\''")}'`;
};
