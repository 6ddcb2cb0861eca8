/** Changes of locks from one look to the next. */
import type { LockRecord, SemaphoreHolder } from "../index.ts";
import { type RecordState, stateOf } from "./records.ts";
import { showDuration } from "./time.ts";

export interface Change {
  /** Epoch ms: as the record says, or when it was looked at. */
  readonly at: number;
  readonly key: string;
  readonly type: RecordState | "taken" | "taken over" | "broken" | "deleted";
  readonly owner: string;
  readonly fencingToken: number;
  readonly detail?: string;
}

/** All records at one moment, epoch ms. */
export interface Snapshot {
  readonly at: number;
  readonly records: ReadonlyMap<string, LockRecord>;
}

/** A record, or one slot of a semaphore, with its state at the time of the look. */
type Part = Pick<LockRecord, "key" | "updatedAt"> & SemaphoreHolder & { readonly state: RecordState };

const partsOf = ({ at, records }: Snapshot): Map<string, Part> =>
  new Map(
    [...records.values()].flatMap((record) => {
      const { key, updatedAt, holders } = record;
      const parts = holders?.map((holder) => ({ ...record, ...holder, holders: undefined, permits: undefined }));
      return (parts ?? [{ ...record, slot: -1 }]).map((part): [string, Part] => [
        `${key} ${part.slot}`,
        { ...(part as unknown as Part), key, updatedAt, state: stateOf(part as unknown as LockRecord, at) },
      ]);
    }),
  );

/** The changes, in the order in which they happened. `before` is absent at the first look. */
export const changesBetween = (before: Snapshot | undefined, after: Snapshot): Change[] => {
  const [old, present] = [before ? partsOf(before) : new Map<string, Part>(), partsOf(after)];
  const changes = [...present].flatMap(([name, part]) =>
    before ? changesOf(old.get(name), part) : [changeTo(part.state === "held" ? "taken" : part.state, part)],
  );
  for (const [name, part] of old) {
    if (!present.has(name) && !after.records.has(part.key))
      changes.push({ ...changeTo("deleted", part), at: after.at });
  }
  return changes.toSorted((a, b) => a.at - b.at);
};

const changesOf = (old: Part | undefined, part: Part): Change[] => {
  const changes: Change[] = [];
  const { intervention: note, fencingToken, state } = part;
  const isNoted = note !== undefined && note.at !== old?.intervention?.at;
  if (isNoted) {
    const type = note.did === "broken" ? "broken" : note.did === "finished" ? "finished" : "forgotten";
    const detail = `by ${note.by ?? "?"}${note.why ? `: ${note.why}` : ""}`;
    changes.push({ ...changeTo(type, old ?? part), at: note.at, fencingToken: note.fencingToken, detail });
  }
  if (old?.fencingToken !== fencingToken) {
    const isTakenOver = old !== undefined && !isNoted && (old.state === "held" || old.state === "stale");
    changes.push(
      isTakenOver ? { ...changeTo("taken over", part), detail: `from ${old.owner || "?"}` } : changeTo("taken", part),
    );
    if (state !== "held") changes.push(changeTo(state, part));
  } else if (old.state !== state && !isNoted) {
    changes.push(changeTo(state, part));
  }
  return changes;
};

/** Without the reason, which is elsewhere. */
const changeTo = (type: Change["type"], part: Part): Change => {
  const { key, owner, fencingToken, acquiredAt, updatedAt, expiresAt } = part;
  const about = { key, type, owner, fencingToken };
  if (type === "taken" || type === "taken over") return { at: acquiredAt, ...about };
  if (type === "stale") return { at: expiresAt, ...about, detail: "its lease is over, and nobody released it" };
  if (type === "finished" || type === "released") {
    return { at: updatedAt, ...about, detail: `after ${showDuration(updatedAt - acquiredAt)}` };
  }
  return { at: type === "forgotten" ? expiresAt : updatedAt, ...about };
};
