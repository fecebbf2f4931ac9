import { env, runInDurableObject } from "cloudflare:test";
import { describe } from "vitest";
import { objectSql } from "../../src/storage/object-sql.ts";
import { storageContract } from "../storage/contract.ts";

describe("in a Durable Object", () => {
  storageContract((work) => {
    const stub = env.SPACE.getByName(crypto.randomUUID());
    return runInDurableObject(stub, (_space, state) => work(objectSql(state.storage)));
  });
});
