/** Durations and instants, as they are typed and printed. */
import { InvalidArgumentError } from "commander";

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `500ms`, `30s`, `10m`, `2h`, `7d`, in ms. */
export const parseDuration = (text: string): number => {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Math.round(Number(number) * (UNITS[unit as keyof typeof UNITS] ?? Number.NaN));
  if (number === "" || !Number.isSafeInteger(ms)) {
    throw new InvalidArgumentError("It must be a duration such as 500ms, 30s, 10m, 2h or 7d.");
  }
  return ms;
};

export const parseWhole = (text: string): number => {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number))
    throw new InvalidArgumentError("It must be a whole number.");
  return number;
};

/** The two largest units: `2h 5m`, `1.5s`, `300ms`. */
export const showDuration = (ms: number): string => {
  if (!Number.isFinite(ms)) return "for ever";
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)}s`;
  const parts: string[] = [];
  let left = Math.round(ms / 1_000) * 1_000;
  for (const unit of ["d", "h", "m", "s"] as const) {
    const count = Math.floor(left / UNITS[unit]);
    left -= count * UNITS[unit];
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.slice(0, 2).join(" ");
};

/** `2026-11-21 10:30:05` in the time zone, with its name. */
export const clockOf = (timeZone: string | undefined): ((epochMs: number) => string) => {
  const format = new Intl.DateTimeFormat("sv-SE", {
    dateStyle: "short",
    timeStyle: "medium",
    ...(timeZone !== undefined && { timeZone }),
  });
  const { timeZone: name } = format.resolvedOptions();
  return (epochMs) => (Math.abs(epochMs) <= 8.64e15 ? `${format.format(epochMs)} ${name}` : String(epochMs));
};
