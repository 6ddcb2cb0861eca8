/**
 * Works on all items, at most `concurrency` at a time, in their order. The next item is asked for when its turn has come, so that
 * a generator may leave out what is not wanted any more. The work must not reject.
 */
export const inParallel = async <T>(
  items: Iterable<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> => {
  const iterator = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = iterator.next(); !next.done; next = iterator.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
};
