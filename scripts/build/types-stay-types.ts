import type { OutputAsset, OutputChunk, Plugin } from "rollup";

/**
 * Exports as types what an entry point's code doesn't export: `export type { Lock }` of a class comes out of the roll-up as if
 * there were a class to import, and `instanceof Lock` would compile.
 */
export const typesStayTypes = (code: readonly (OutputChunk | OutputAsset)[]): Plugin => ({
  name: "types-stay-types",
  renderChunk(declarations, chunk) {
    const entry = code.find((file) => file.type === "chunk" && file.isEntry && file.name === chunk.name);
    if (!chunk.isEntry || entry?.type !== "chunk") return null; // others import values from a chunk
    const named = (name: string) => (entry.exports.includes(name.replace(/^.* as /, "")) ? name : `type ${name}`);
    const list = (_statement: string, names: string, from = "") =>
      `export { ${names.split(", ").map(named).join(", ")} }${from};`;
    return { code: declarations.replace(/^export \{ (.+) \}( from .+)?;$/gm, list), map: null };
  },
});
