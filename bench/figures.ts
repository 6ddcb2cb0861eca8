/** What the benchmarks print. */

/** The smallest of the values that at least this part of them don't exceed; `NaN` of none. */
export const percentile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * part) - 1] ?? Number.NaN;

/** A Markdown table whose numbers are aligned to the right. */
export const printTable = (rows: readonly Readonly<Record<string, string | number>>[]): void => {
  const columns = Object.keys(rows[0] ?? {});
  const align = columns.map((column) => (typeof rows[0]?.[column] === "number" ? "---:" : "---"));
  const cells = rows.map((row) => columns.map((column) => format(row[column] as string | number)));
  for (const line of [columns, align, ...cells]) console.log(`| ${line.join(" | ")} |`);
};

const format = (value: string | number) =>
  typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 1 : 0 }) : value;
