/** What the examples of docs/migrating.md call of the user's own. The test puts stand-ins in their place. */
declare global {
  function updateCustomer(id: string, options: { signal: AbortSignal }): Promise<void>;
  function hurry(): void;
  function rollBack(reason: string): void;
  function printReport(): Promise<void>;
  function restart(instance: string): Promise<void>;
  function doSomethingExclusive(signal: AbortSignal): Promise<void>;
  function runEtl(date: string): Promise<void>;
  function lead(signal: AbortSignal): Promise<void>;
  function createOrder(order: unknown): Promise<{ statusCode: number; body: string }>;
}

export {};
