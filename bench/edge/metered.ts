import app, { SpaceObject as DeployedSpaceObject } from "../../src/index.ts";
import type { Usage } from "../usage.ts";
import { meter, meterStorage, meterTimers } from "./meter.ts";

export * from "../../src/index.ts";

meterTimers();

/** The methods that are called from outside the object; each call is billed as a request. */
const REQUEST_METHODS = [
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

/** The deployed space object, with a meter that counts what it uses. */
export class SpaceObject extends DeployedSpaceObject {
  constructor(...args: ConstructorParameters<typeof DeployedSpaceObject>) {
    meterStorage(args[0].storage);
    super(...args);
  }

  override webSocketMessage(
    ...args: Parameters<DeployedSpaceObject["webSocketMessage"]>
  ): Promise<void> {
    return meter.countEvent("messages", () => super.webSocketMessage(...args));
  }

  async usage(): Promise<Usage> {
    return meter.read();
  }
}

for (const name of REQUEST_METHODS) {
  const method = DeployedSpaceObject.prototype[name] as (...args: unknown[]) => Promise<unknown>;
  Object.defineProperty(SpaceObject.prototype, name, {
    value(this: SpaceObject, ...args: unknown[]) {
      return meter.countEvent("requests", () => method.apply(this, args));
    },
  });
}

type MeteredEnv = { SPACE: DurableObjectNamespace<SpaceObject> };

/** `/usage/:space` answers what the space's object has used so far; Dialout answers the rest. */
export default {
  async fetch(request: Request, env: MeteredEnv, ctx: ExecutionContext): Promise<Response> {
    const [, first, space] = new URL(request.url).pathname.split("/");
    if (first !== "usage" || space === undefined) return app.fetch(request, env, ctx);
    return Response.json(await env.SPACE.getByName(space).usage());
  },
};
