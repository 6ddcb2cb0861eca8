/**
 * Builds the package: each entry point of package.json's `exports` as one ES module with one declaration file, and a chunk
 * for what several of them share. 60 modules took 29 ms to import, one takes 7: each has to be found and read.
 *
 * The code is not minified, so that stack traces can be read: that would save 0.6 ms of the 7, for V8 reads statements, not
 * bytes. Comments stay behind, because declarations have those for users. Source maps too: the lines are the source's.
 *
 * The command `dynamo-lock` stands beside them, in `bin/`.
 */
import "./build/typescript-6.ts";

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { type OutputOptions, type Plugin, rollup } from "rollup";
import { dts } from "rollup-plugin-dts";
import { buildCommand } from "./build/command.ts";
import { markPure } from "./build/mark-pure.ts";
import { typesStayTypes } from "./build/types-stay-types.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");

/** The names of the entry points: `index` for `./dist/index.js`. */
export const entryPoints = (): string[] => {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Record<string, { default: string }>;
  };
  return Object.values(exports).map((entry) => basename(entry.default, ".js"));
};

/** Nothing but our own files is bundled. */
const external = (id: string) => !/^[./]/.test(id);

/** Users' bundlers keep the annotations, and leave out what isn't used. */
const readable: Plugin = {
  name: "readable",
  renderChunk: (code) => transform(code, { target: "node22", charset: "utf8" }),
};

/** Writes the package's `dist` to a directory. What was there before is removed. */
export async function build(dist: string): Promise<void> {
  const modules = mkdtempSync(join(tmpdir(), "middy-dynamo-lock-build-"));
  try {
    const settings = ["-p", join(root, "tsconfig.build.json"), "--outDir", modules];
    execFileSync(process.execPath, [tsc, ...settings], { stdio: ["ignore", "inherit", "inherit"] });
    const input = (extension: string) =>
      Object.fromEntries(entryPoints().map((name) => [name, join(modules, `${name}${extension}`)]));
    const output = (extension: string): OutputOptions => ({
      dir: dist,
      entryFileNames: `[name]${extension}`,
      chunkFileNames: ({ name }) => `${name.replace(/\.d$/, "")}${extension}`,
      minifyInternalExports: false,
      hoistTransitiveImports: false, // an entry point loads the AWS SDK only if it uses it
    });
    rmSync(dist, { recursive: true, force: true });
    const code = await rollup({
      input: input(".js"),
      external,
      treeshake: { moduleSideEffects: false },
      plugins: [markPure, readable],
    });
    const { output: chunks } = await code.write(output(".js"));
    const types = await rollup({ input: input(".d.ts"), external, plugins: [dts(), typesStayTypes(chunks)] });
    await types.write(output(".d.ts"));
    await buildCommand(join(dist, "bin"));
  } finally {
    rmSync(modules, { recursive: true, force: true });
  }
}

if (import.meta.main) await build(join(root, "dist"));
