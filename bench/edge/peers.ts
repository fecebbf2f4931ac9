import { Hono } from "hono";
import type { BroadcastObject } from "./broadcast-object.ts";
import type { NaiveObject } from "./naive-object.ts";
import type { RelayObject } from "./relay-object.ts";
import type { RowObject } from "./row-object.ts";

export { BroadcastObject } from "./broadcast-object.ts";
export { NaiveObject } from "./naive-object.ts";
export { RelayObject } from "./relay-object.ts";
export { RowObject } from "./row-object.ts";

interface PeersEnv {
  RELAY: DurableObjectNamespace<RelayObject>;
  NAIVE: DurableObjectNamespace<NaiveObject>;
  ROWS: DurableObjectNamespace<RowObject>;
  BROADCAST: DurableObjectNamespace<BroadcastObject>;
}

/** Minimal programs for the same work, which Dialout's cost is compared with. */
export default new Hono<{ Bindings: PeersEnv }>()
  .get("/relay/:role", (c) => c.env.RELAY.getByName("bench").fetch(c.req.raw))
  .get("/naive/:role", (c) => c.env.NAIVE.getByName("bench").fetch(c.req.raw))
  .get("/broadcast", (c) => c.env.BROADCAST.getByName("bench").fetch(c.req.raw))
  .post("/rows", async (c) => {
    const id = await c.env.ROWS.getByName("bench").write(JSON.stringify(await c.req.json()));
    return c.json({ id }, 202);
  });
