/** Setup file for vitest and jest: see docs/testing.md. */
import { setUpMemory } from "./testing.ts";

await setUpMemory();
