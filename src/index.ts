import { app } from "./http/app.ts";

export { SpaceObject } from "./space/space-object.ts";
export default app;
