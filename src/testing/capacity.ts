/**
 * Counts capacity as DynamoDB does
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
 */
const WRITE_UNIT_BYTES = 1024;
const READ_UNIT_BYTES = 4096;

/** What one request consumes, by table. */
export class CapacityMeter {
  readonly #units = new Map<string, number>();

  #add(table: string, units: number): void {
    this.#units.set(table, (this.#units.get(table) ?? 0) + units);
  }

  /**
   * `bytes`: of the item before or after, whichever is larger. A write of a transaction counts
   * twice.
   */
  write(table: string, bytes: number, factor = 1): void {
    this.#add(table, factor * Math.max(1, Math.ceil(bytes / WRITE_UNIT_BYTES)));
  }

  /** `bytes`: of an item, or of a page of a scan. */
  read(table: string, bytes: number, isConsistent: boolean | undefined): void {
    this.#add(table, (isConsistent ? 1 : 0.5) * Math.max(1, Math.ceil(bytes / READ_UNIT_BYTES)));
  }

  /** What has been counted since the last time, in the form of a response. */
  take(): { readonly TableName: string; readonly CapacityUnits: number }[] {
    const counted = [...this.#units].map(([TableName, CapacityUnits]) => ({ TableName, CapacityUnits }));
    this.#units.clear();
    return counted;
  }
}
