/**
 * The setup file for jest in CommonJS, which has no top-level await: jest calls what it exports.
 */
export { setUpMemory as default } from "./testing.ts";
