import { LockClient } from "middy-dynamo-lock/lean";

export const locks = new LockClient({
  clientConfig: { region: "eu-central-1", credentials: () => assumeRole("locks") },
});
