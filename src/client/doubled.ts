import { type LockKey, NAMESPACE_SEPARATOR } from "../common/key.ts";
import { print } from "../common/print.ts";

const warned = new Set<string>();

/**
 * Says once for each namespace that a key seems to be a stored one: it begins with the namespace
 * that is put before it. It counts as it is, because a key of the application may look so.
 */
export const warnOfDoubling = (key: LockKey, namespace: string | undefined): void => {
  const prefix = `${namespace}${NAMESPACE_SEPARATOR}`;
  if (!namespace || typeof key !== "string" || !key.startsWith(prefix) || warned.has(namespace)) return;
  warned.add(namespace);
  const [stored, asked] = [`${prefix}${key}`, key.slice(prefix.length)].map((each) => JSON.stringify(each));
  print(
    "warn",
    `LockClient: key ${JSON.stringify(key)} begins with the namespace, and is stored as ${stored}. ` +
      `If it is a stored key, as a record shows it, ask for ${asked}, or use a LockClient without a namespace`,
  );
};
