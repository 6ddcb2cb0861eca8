/** Compiles only if two types are the same: `any` is the same as nothing but itself. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Says in a type test that something must be true; does nothing at run time. */
export const expectTrue = <T extends true>(..._holds: T[]): void => {};

export interface ReportEvent {
  readonly date: string;
}
