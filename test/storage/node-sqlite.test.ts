import { describe } from "vitest";
import { storageContract } from "./contract.ts";
import { nodeSql } from "./node-sql.ts";

describe("on node:sqlite", () => {
  storageContract(async (work) => work(nodeSql()));
});
