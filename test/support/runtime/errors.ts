import { expect } from "vitest";

/** What went wrong in this test although it didn't expect that: handlers that threw, errors that were logged. */
let errors: unknown[] = [];

export function noteError(...error: unknown[]): void {
  errors.push(...error);
}

/** Fails the test if anything went wrong in it. */
export function expectNoErrors(): void {
  const found = errors;
  errors = [];
  expect(found).toEqual([]);
}
