import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, it } from "vitest";

/** From the lowest to the highest: a room imports from itself and from rooms below it. */
const ROOMS = ["common", "protocol", "dynamodb", "lean", "lock", "lambda"];
/** Each may use all rooms, and no other door. */
const DOORS = ["invocation", "commit", "batch", "client", "semaphore", "operate"];
/** The public names that entry points share, whatever carries their requests. */
const NAMES = "names.ts";
/** The main entry point: the doors' public names. */
const MAIN = "index.ts";
/** The same names, over what is no AWS SDK. */
const LEAN = "lean.ts";
/** Rooms of entry points of their own, which know the main one. Each has a door of its name in `src` itself. */
const BESIDE = ["testing", "http"];
/** Programs of their own, on the public names: no handler's bundle can reach them. */
const PROGRAMS = ["cli"];

const source = new URL("../src/", import.meta.url);
const tests = new URL("./", import.meta.url);
const filesIn = (folder: URL) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const files = filesIn(source);
/** Each file of `src` itself is a room of its own. */
const roomOf = (file: string) => (posix.dirname(file) === "." ? posix.basename(file) : posix.dirname(file));
const heightOf = (room: string) => {
  const doors = BESIDE.map((each) => `${each}.ts`);
  const storeys = [...ROOMS.map((each) => [each]), DOORS, [NAMES], [MAIN, LEAN], [...BESIDE, ...PROGRAMS], doors];
  const storey = storeys.findIndex((rooms) => rooms.includes(room));
  return storey < 0 && room.endsWith(".ts") ? storeys.length : storey; // what is for the doors of rooms only
};

const importsOf = (file: string, folder = source) => {
  const text = readFileSync(new URL(file, folder), "utf8");
  return [...text.matchAll(/(?:from|import\(|^import)\s*"(.+?)"/gm)].map(([, from]) => from as string);
};
const neighboursOf = (file: string) =>
  importsOf(file)
    .filter((from) => from.startsWith("."))
    .map((from) => posix.join(posix.dirname(file), from));

describe.each(files)("%s", (file) => {
  it("stands in a room, and imports from its own and from lower ones only", () => {
    expect(heightOf(roomOf(file)), `${roomOf(file)} is no room`).toBeGreaterThanOrEqual(0);
    const wrong = neighboursOf(file).filter((imported) => {
      const [from, to] = [roomOf(file), roomOf(imported)];
      return from !== to && heightOf(to) >= heightOf(from);
    });
    expect(wrong).toEqual([]);
  });
});

describe("The files", () => {
  it("don't import each other in circles", () => {
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      expect(path, [...path, file].join(" -> ")).not.toContain(file);
      if (done.has(file)) return;
      for (const next of neighboursOf(file)) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
  });

  it("give no two classes or types one name", () => {
    // It has the names of the main entry point, because it is taken in place of that.
    const inRooms = files.filter((file) => file !== LEAN);
    const names = inRooms.flatMap((file) =>
      [...readFileSync(new URL(file, source), "utf8").matchAll(/^(?:export )?(?:class|interface|type) (\w+)/gm)].map(
        ([, name]) => name as string,
      ),
    );
    expect(names.filter((name, index) => names.indexOf(name) < index)).toEqual([]);
  });

  it("leave the AWS SDK to one of them, and to one of the command line", () => {
    const knowing = files.filter((file) => importsOf(file).some((from) => from.startsWith("@aws-sdk/")));
    expect(knowing.sort()).toEqual(["cli/aws.ts", "dynamodb/aws-sdk.ts"]);
  });

  it("of a program know the library by its public names only", () => {
    const programs = files.filter((file) => PROGRAMS.includes(roomOf(file)));
    const others = programs.flatMap(neighboursOf).filter((imported) => !PROGRAMS.includes(roomOf(imported)));
    expect(new Set(others)).toEqual(new Set(["index.ts"]));
  });

  it("reach that one from the entry point over the SDK, and from no other", () => {
    const reached = new Set<string>();
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      neighboursOf(file).forEach(visit);
    };
    visit("lean.ts");
    expect(reached).toContain("lock/locks.ts");
    expect(reached).not.toContain("dynamodb/aws-sdk.ts");
    visit("index.ts");
    expect(reached).toContain("dynamodb/aws-sdk.ts");
  });
});

describe("The tests", () => {
  const testsOf = (room: string) => filesIn(tests).filter((file) => file.startsWith(`${room}/`));

  it.each([...ROOMS, ...DOORS, ...BESIDE])(
    "of %s stand in a folder of its name, and know no inside of higher rooms",
    (room) => {
      expect(testsOf(room).filter((file) => file.endsWith(".test.ts"))).not.toEqual([]);
      const wrong = testsOf(room).flatMap((file) =>
        importsOf(file, tests)
          .filter((from) => from.startsWith("."))
          .map((from) => posix.relative("../src", posix.join(posix.dirname(file), from)))
          .filter((imported) => !imported.startsWith("../") && ![MAIN, `${room}.ts`].includes(imported))
          .filter((imported) => roomOf(imported) !== room && heightOf(roomOf(imported)) >= heightOf(room))
          .map((imported) => `${file} imports ${imported}`),
      );
      expect(wrong).toEqual([]);
    },
  );
});
