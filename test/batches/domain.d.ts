/** What the examples of docs/batches.md call of the user's own. The test puts stand-ins in their place. */
declare global {
  function shipOrder(body: string): Promise<void>;
  function isRejected(error: unknown): boolean;
  function book(body: string): Promise<void>;
  function storeReading(data: Buffer): Promise<void>;
  function notify(detail: { orderId: string }): Promise<void>;
  function indexObject(bucket: string, key: string): Promise<void>;
}

export {};
