import { readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { expect, it } from "vitest";

interface Entry {
  readonly resolved?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const { packages } = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8")) as {
  packages: Record<string, Entry>;
};

/** Whether Node, looking from a folder upwards as it does, comes to an entry of this name. */
const isFound = (name: string, folder: string): boolean =>
  join(folder, "node_modules", name) in packages || (folder !== "." && isFound(name, dirname(folder)));

it("has every platform's optional packages, so that npm install on any of them adds none", () => {
  const wanted = Object.entries(packages).flatMap(([folder, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).map((name) => ({ name, folder: folder || "." })),
  );
  expect(wanted.length).toBeGreaterThan(50);
  expect(wanted.filter(({ name, folder }) => !isFound(name, folder))).toEqual([]);
});

it("names no registry's host, so that npm takes the packages from the one that is configured", () => {
  const resolved = Object.entries(packages).filter(([, entry]) => entry.resolved !== undefined && !entry.link);
  expect(resolved).toEqual([]);
});
