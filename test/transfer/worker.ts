/** A process that handles messages, one at a time, until a fault kills it. */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { clientConfig } from "../../scripts/engine.ts";
import { newClient } from "../support/client.ts";
import { lambdaContext } from "../support/lambda.ts";
import type { Bank, Transfer } from "./bank.ts";
import { Faults, type Plan } from "./faults.ts";
import { VARIANTS, type VariantName, variants } from "./variants.ts";

/** What a worker needs to know before the first message. */
export interface Premises {
  readonly endpoint: string;
  /** An invocation's time, and so a lease's, in ms. */
  readonly leaseMs: number;
  readonly places: Readonly<Record<VariantName, { readonly bank: Bank; readonly tableName: string }>>;
}

export type Order =
  | { readonly type: "handle"; readonly variant: VariantName; readonly transfer: Transfer; readonly plan?: Plan }
  /** Let the late request arrive. */
  | { readonly type: "arrive" };

export type News =
  | { readonly type: "ready" }
  | { readonly type: "struck" }
  /** `ms`: how long it took. */
  | { readonly type: "handled"; readonly error?: string; readonly ms: number }
  | { readonly type: "arrived" };

const { endpoint, leaseMs, places }: Premises = JSON.parse(process.env.PREMISES ?? "");

const tell = (news: News) => new Promise<void>((resolve) => process.send?.(news, () => resolve()));

// The application's, with the limits of the client that the library makes: it is the same for all variants.
const config = {
  ...clientConfig(endpoint),
  maxAttempts: 3,
  requestHandler: { connectionTimeout: 500, requestTimeout: 1_000, throwOnRequestTimeout: true },
};
const [client, sdk] = [newClient(config), new DynamoDBClient(config)];
/** Powertools knows the AWS SDK's client only. */
const clientOf = (name: VariantName) => (name === "powertools" ? sdk : client);
const faults = new Faults([client, sdk], () => tell({ type: "struck" }));
const { at } = faults;
const handlers = Object.fromEntries(
  VARIANTS.map((name) => [name, variants[name].handler({ client: clientOf(name), at, ...places[name] })]),
) as Record<VariantName, ReturnType<(typeof variants)[VariantName]["handler"]>>;

const handle = async ({ variant, transfer, plan }: Order & { type: "handle" }): Promise<News> => {
  const startedAt = performance.now();
  const ended = (error?: string) => ({
    type: "handled" as const,
    ms: performance.now() - startedAt,
    ...(error !== undefined && { error }),
  });
  faults.expect(plan);
  try {
    await at("before acquire");
    await handlers[variant](transfer, lambdaContext({ timeoutMs: leaseMs, functionName: "transfer" }));
    await at("after finish");
    return ended();
  } catch (error) {
    return ended(`${error}`);
  }
};

process.on("disconnect", () => process.exit());
process.on("message", async (order: Order) => {
  if (order.type === "handle") return tell(await handle(order));
  await faults.arrive();
  await tell({ type: "arrived" });
});
await tell({ type: "ready" });
