import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** Bundles a file as SAM does with esbuild, minified: nothing may depend on the names of classes. Returns the directory. */
export async function bundle(file: string): Promise<string> {
  const outdir = mkdtempSync(join(tmpdir(), "task-"));
  await build({
    entryPoints: { index: fileURLToPath(new URL(file, import.meta.url)) },
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    minify: true,
    platform: "node",
    format: "esm",
    target: "node22",
    mainFields: ["module", "main"],
  });
  return outdir;
}
