import { LockHeldError, PayloadMismatchError } from "middy-dynamo-lock";
import { lambdaContext, sharedMemory } from "middy-dynamo-lock/testing";
import { beforeEach, expect, test } from "vitest";
import { handler } from "./order.js";

const place = (id: string, amount = 7) => handler({ id, amount }, lambdaContext());

beforeEach(() => sharedMemory().reset());

test("an order is placed once, and a repeat gets the first response", async () => {
  const first = await place("42");
  expect(await place("42")).toEqual(first);
  expect(sharedMemory().sent).toEqual(["UpdateItem", "UpdateItem", "UpdateItem"]);
});

test("a repeat with another amount is a 422", async () => {
  await place("42");
  await expect(place("42", 8)).rejects.toThrow(PayloadMismatchError);
});

test("while another run has the order it is a 409, and after that run's release it is placed", async () => {
  const lock = await sharedMemory().holdLock("42", { namespace: "orders" });
  await expect(place("42")).rejects.toThrow(LockHeldError);
  await lock.release();
  expect(await place("42")).toMatchObject({ id: "42" });
});

test("an order that was placed before has its response", async () => {
  await sharedMemory().finishLock("42", { namespace: "orders", result: { number: 1 }, fingerprint: 7 });
  expect(await place("42")).toEqual({ number: 1 });
});

test("a run that crashed is taken over", async () => {
  await sharedMemory().crashLock("42", { namespace: "orders" });
  expect(await place("42")).toMatchObject({ id: "42" });
});

test("a lost reply doesn't place the order twice", async () => {
  const fault = sharedMemory().fault("lost-reply", { operation: "UpdateItem", times: 2 });
  const first = await place("42");
  expect(fault.met).toBe(2);
  expect(await place("42")).toEqual(first);
});
