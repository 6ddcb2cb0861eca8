/**
 * Builds the package: each entry point of package.json's `exports` as one ES module with one declaration file, and a chunk
 * for what several of them share. 60 modules took 29 ms to import, one takes 7: each has to be found and read.
 *
 * The same stands there for CommonJS. Node.js can `require` an ES module, but Lambda's nodejs22.x runtime switches that off
 * (https://docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html), jest has no such thing, and TypeScript's `node16` refuses it.
 *
 * The code is not minified, so that stack traces can be read: that would save 0.6 ms of the 7, for V8 reads statements, not
 * bytes. Comments stay behind, because declarations have those for users. Source maps too: the lines are the source's.
 *
 * The command `dynamo-lock` stands beside them, in `bin/`.
 */
import "./build/typescript-6.ts";

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { type OutputOptions, type Plugin, type RollupLog, rollup } from "rollup";
import { dts } from "rollup-plugin-dts";
import { buildCommand } from "./build/command.ts";
import { markPure } from "./build/mark-pure.ts";
import { typesStayTypes } from "./build/types-stay-types.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");

/** The names of the entry points: `index` for `./dist/index.js`. */
export const entryPoints = (): string[] => {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Record<string, { import: { default: string } }>;
  };
  return Object.values(exports).map((entry) => basename(entry.import.default, ".js"));
};

/**
 * They know the others by their public names: nothing of the main entry point moves into a chunk that
 * it would share with them.
 */
const BESIDE = ["testing", "testing-setup"];

/** Nothing but our own files is bundled. */
const external = (id: string) => !/^[./]/.test(id);

/** Users' bundlers keep the annotations, and leave out what isn't used. */
const readable: Plugin = {
  name: "readable",
  renderChunk: (code) => transform(code, { target: "node22", charset: "utf8" }),
};

/**
 * A setup file declares nothing. Types that stand in a chunk need no public name: consumers' declarations
 * don't name them, as test/types shows.
 */
const isProblem = ({ code, message }: RollupLog): boolean =>
  code !== "EMPTY_BUNDLE" && !message.includes("private shared type exports");

type Format = "es" | "cjs";

/** An entry point may have another module for CommonJS: `name.require.ts`. */
const moduleOf = (path: string, extension: string, format: Format): string => {
  const own = `${path}.require${extension}`;
  return format === "cjs" && extension === ".js" && existsSync(own) ? own : `${path}${extension}`;
};

/** Code and declarations of some entry points, in one format. */
const roll = async (names: readonly string[], modules: string, dist: string, format: Format): Promise<void> => {
  const [js, types] = format === "es" ? [".js", ".d.ts"] : [".cjs", ".d.cts"];
  const others = entryPoints().filter((name) => !names.includes(name));
  const start = (extension: string) => {
    const othersByPath = new Map(others.map((name) => [join(modules, `${name}${extension}`), name]));
    return {
      input: Object.fromEntries(names.map((name) => [name, moduleOf(join(modules, name), extension, format)])),
      external: (id: string) => external(id) || othersByPath.has(id),
      paths: (id: string) => (othersByPath.has(id) ? `./${othersByPath.get(id)}${js}` : id),
    };
  };
  const { paths, ...input } = start(".js");
  const code = await rollup({ ...input, treeshake: { moduleSideEffects: false }, plugins: [markPure, readable] });
  const { output: chunks } = await code.write({ ...output(dist, js, format), paths });
  const { paths: typePaths, ...typeInput } = start(".d.ts");
  const declarations = await rollup({
    onLog: (level, log, print) => isProblem(log) && print(level, log),
    ...typeInput,
    plugins: [dts(), typesStayTypes(chunks)],
  });
  await declarations.write({ ...output(dist, types), paths: typePaths });
};

const output = (dir: string, extension: string, format?: Format): OutputOptions => ({
  dir,
  ...(format && { format }),
  exports: "auto",
  entryFileNames: `[name]${extension}`,
  chunkFileNames: `shared${extension}`,
  minifyInternalExports: false,
  hoistTransitiveImports: false, // an entry point loads the AWS SDK only if it uses it
  dynamicImportInCjs: false, // jest can't import from CommonJS
});

/** Writes the package's `dist` to a directory. What was there before is removed. */
export async function build(dist: string): Promise<void> {
  const modules = mkdtempSync(join(tmpdir(), "middy-dynamo-lock-build-"));
  try {
    const settings = ["-p", join(root, "tsconfig.build.json"), "--outDir", modules];
    execFileSync(process.execPath, [tsc, ...settings], { stdio: ["ignore", "inherit", "inherit"] });
    rmSync(dist, { recursive: true, force: true });
    const main = entryPoints().filter((name) => !BESIDE.includes(name));
    for (const names of [main, ...BESIDE.map((name) => [name])]) {
      await roll(names, modules, dist, "es");
      await roll(names, modules, dist, "cjs");
    }
    await buildCommand(join(dist, "bin"));
  } finally {
    rmSync(modules, { recursive: true, force: true });
  }
}

if (import.meta.main) await build(join(root, "dist"));
