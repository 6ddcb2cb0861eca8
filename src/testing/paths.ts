/** Finds, writes and picks parts of items by document paths. */
import type { AttributeValue, Item } from "../protocol/item.ts";
import type { Cursor, DocumentPath } from "./cursor.ts";
import { invalid } from "./errors.ts";
import { copyOf } from "./values.ts";

const print = (path: DocumentPath): string =>
  `[${path.map((part) => (typeof part === "number" ? `[${part}]` : part)).join(", ")}]`;

/**
 * Refuses paths of which one contains another, or which take one attribute for a list and for a
 * map.
 */
export const checkDistinct = (cursor: Cursor, paths: readonly DocumentPath[]): void => {
  const refuse = (how: string, one: DocumentPath, other: DocumentPath) =>
    cursor.error(
      `Two document paths ${how} with each other; must remove or rewrite one of these paths; ` +
        `path one: ${print(one)}, path two: ${print(other)}`,
    );
  for (const [index, other] of paths.entries()) {
    for (const one of paths.slice(0, index)) {
      const differ = one.findIndex((part, i) => part !== other[i]);
      const at = differ < 0 ? one.length : differ;
      if (at >= Math.min(one.length, other.length)) throw refuse("overlap", one, other);
      if (typeof one[at] !== typeof other[at]) throw refuse("conflict", one, other);
    }
  }
};

const step = (value: AttributeValue | undefined, part: string | number): AttributeValue | undefined =>
  typeof part === "number" ? value?.L?.[part] : value?.M && Object.hasOwn(value.M, part) ? value.M[part] : undefined;

export const valueAt = (item: Item, path: DocumentPath): AttributeValue | undefined =>
  path.reduce<AttributeValue | undefined>(step, { M: item });

/** Writes a value into an item, or removes what is there. What contains it has to exist. */
export const writeAt = (item: Item, path: DocumentPath, value: AttributeValue | undefined): void => {
  const parent = path.slice(0, -1).reduce<AttributeValue | undefined>(step, { M: item });
  const last = path.at(-1) as string | number;
  const container = typeof last === "number" ? parent?.L : parent?.M;
  if (!container) throw invalid("The document path provided in the update expression is invalid for update");
  if (Array.isArray(container)) {
    const index = Math.min(last as number, container.length); // beyond the end it is appended
    container.splice(index, 1, ...(value ? [value] : []));
  } else if (value) container[last] = value;
  else delete container[last];
};

/**
 * Whether a path comes before another: of a list, later elements go first, so that indexes stay
 * true.
 */
export const byIndexDescending = (one: DocumentPath, other: DocumentPath): number => {
  const differ = one.findIndex((part, i) => part !== other[i]);
  const [a, b] = [one[differ], other[differ]];
  return typeof a === "number" && typeof b === "number" ? b - a : 0;
};

export const readPaths = (cursor: Cursor): DocumentPath[] => {
  const paths = [cursor.path()];
  while (cursor.take(",")) paths.push(cursor.path());
  return paths;
};

export const parseProjection = (cursor: Cursor): DocumentPath[] => {
  const paths = readPaths(cursor);
  cursor.end();
  checkDistinct(cursor, paths);
  return paths;
};

/**
 * Those parts of a value, in its own shape. The elements that are picked from a list move together.
 */
const pick = (value: AttributeValue | undefined, paths: readonly DocumentPath[]): AttributeValue | undefined => {
  if (!value) return undefined;
  if (paths.some((path) => path.length === 0)) return copyOf(value);
  const parts = [...new Set(paths.map(([part]) => part as string | number))].sort((a, b) => Number(a) - Number(b));
  const picked = parts.flatMap((part): [string | number, AttributeValue][] => {
    const below = paths.filter(([first]) => first === part).map((path) => path.slice(1));
    const child = pick(step(value, part), below);
    return child ? [[part, child]] : [];
  });
  if (picked.length === 0) return undefined;
  return value.L ? { L: picked.map(([, child]) => child) } : { M: Object.fromEntries(picked) };
};

/** Those parts of an item, or all of it. */
export const project = (item: Item, paths?: readonly DocumentPath[]): Item =>
  paths ? (pick({ M: item }, paths)?.M ?? {}) : copyOf(item);
