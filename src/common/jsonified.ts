/** Values that JSON leaves out of an object, and makes `null` of in an array. */
type Unwritten = ((...args: never) => unknown) | (abstract new (...args: never) => unknown) | symbol | undefined;

/**
 * The rest of a value of type `T` when JSON has carried it: a `Date` is a string, a method is
 * gone, a bigint is impossible. A type that JSON carries as it is stays what it is.
 */
export type Jsonified<T> = 0 extends 1 & T
  ? T // any
  : T extends Carried<T>
    ? T
    : T extends bigint
      ? never
      : T extends Unwritten
        ? undefined
        : T extends { toJSON(...args: never): infer TJson }
          ? Jsonified<TJson>
          : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
            ? Record<string, never>
            : T extends readonly unknown[]
              ? JsonifiedArray<T>
              : JsonifiedObject<T>;

/** `T`, as far as JSON carries it as it is; `never` for the rest. */
type Carried<T> = unknown extends T
  ? T
  : T extends
        | bigint
        | Exclude<Unwritten, undefined>
        | { toJSON(...args: never): unknown }
        | ReadonlyMap<unknown, unknown>
        | ReadonlySet<unknown>
    ? never
    : T extends readonly (infer TElement)[]
      ? readonly Carried<Exclude<TElement, Unwritten>>[]
      : T extends object
        ? { [K in keyof T]: K extends symbol ? never : Carried<Exclude<T[K], Unwritten>> }
        : T;

type NullOf<T> = Extract<T, Unwritten> extends never ? never : null;

/**
 * A tuple element by element. Of an array the type is worked out when it is needed: it may be
 * recursive.
 */
type JsonifiedArray<T extends readonly unknown[]> = number extends T["length"]
  ? (Jsonified<Exclude<T[number], Unwritten>> | NullOf<T[number]>)[]
  : { [I in keyof T]: Jsonified<Exclude<T[I], Unwritten>> | NullOf<T[I]> };

/** A member that may be what JSON leaves out is optional. */
type JsonifiedObject<T> = Flat<
  { [K in keyof T as NullOf<T[K]> extends never ? Written<T, K> : never]: Jsonified<T[K]> } & {
    [K in keyof T as NullOf<T[K]> extends never ? never : Written<T, K>]?: Jsonified<Exclude<T[K], Unwritten>>;
  }
>;
type Written<T, K extends keyof T> = K extends symbol ? never : T[K] extends Unwritten ? never : K;
type Flat<T> = { [K in keyof T]: T[K] };
