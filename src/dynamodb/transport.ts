/** The seam between this package and whatever carries its requests to DynamoDB. */

/** DynamoDB's answer, as far as it is read here. */
// biome-ignore lint/suspicious/noExplicitAny: each operation has an output of its own
export type Output = any;

export interface SendOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Called with the error of each attempt that was sent and failed: one request may be several
   * attempts.
   */
  readonly onFailure?: ((error: unknown) => void) | undefined;
}

/**
 * Sends one request. Rejects with the error of DynamoDB or of the network as it came: with a
 * `name`, and in `$metadata` the number of `attempts` and the `httpStatusCode`.
 */
export type Send = (operation: string, input: object, options?: SendOptions) => Promise<Output>;

export interface Transport {
  readonly send: Send;
  /** How long the reply to one request may take at first, in ms. */
  requestMs(): number;
  /** The region, for error messages. */
  region(): Promise<string>;
  /** Closes its connections. */
  close(): void;
}

/** Makes a transport from the options that say how DynamoDB is reached. */
export type Connect<TClient> = (options: TClient) => Transport;
