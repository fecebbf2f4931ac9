import app, { SpaceObject as Production } from "../../src/index.ts";
import type { Usage } from "../usage.ts";
import { meter, meterStorage, meterTimers } from "./meter.ts";

export * from "../../src/index.ts";

meterTimers();

/** The methods a stub may call, each call a request. */
const CALLS = [
  "cancel",
  "change",
  "create",
  "describe",
  "fetch",
  "job",
  "jobs",
  "submit",
  "alarm",
] as const;

/** The space's object as it is deployed, with a meter around it. */
export class SpaceObject extends Production {
  constructor(...given: ConstructorParameters<typeof Production>) {
    meterStorage(given[0].storage);
    super(...given);
  }

  override webSocketMessage(...given: Parameters<Production["webSocketMessage"]>): Promise<void> {
    return meter.during("messages", () => super.webSocketMessage(...given));
  }

  async usage(): Promise<Usage> {
    return meter.read();
  }
}

for (const name of CALLS) {
  const call = Production.prototype[name] as (...given: unknown[]) => Promise<unknown>;
  Object.defineProperty(SpaceObject.prototype, name, {
    value(this: SpaceObject, ...given: unknown[]) {
      return meter.during("requests", () => call.apply(this, given));
    },
  });
}

type Env = { SPACE: DurableObjectNamespace<SpaceObject> };

/** `/usage/:space` tells what the space's object used; everything else is Dialout's. */
export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const [, first, space] = new URL(request.url).pathname.split("/");
    if (first !== "usage" || space === undefined) return app.fetch(request, env, ctx);
    return Response.json(await env.SPACE.getByName(space).usage());
  },
};
