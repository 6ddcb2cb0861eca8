/** What the examples of README, docs/middy.md and docs/observability.md call of the user's own. The tests put stand-ins in their place. */
declare global {
  function makeReport(time: string, fence?: number): Promise<{ lines: number }>;
  function syncTenant(tenant: string, options: { signal: AbortSignal }): Promise<void>;
  function charge(
    body: string | undefined,
    options: { idempotencyKey: string | undefined },
  ): Promise<{ paymentId: string }>;
  function ship(body: string | undefined): Promise<void>;
  function save(orderId: string, options: { fence: number }): Promise<void>;
  function recount(item: number, options: { signal: AbortSignal }): Promise<void>;
  function makeInvoice(month: string): Promise<string>;
  function transfer(options: { fence: number }): Promise<void>;
  function exportOrder(orderId: string, options: { signal: AbortSignal }): Promise<void>;
  function sendMail(invoice: string): Promise<void>;
  function page(message: string): void;
}

export {};
