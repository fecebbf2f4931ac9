import { app } from "./http/app.ts";

export { JobIndexObject } from "./backend-job/job-index-object.ts";
export { JobObject } from "./backend-job/job-object.ts";
export { FileSweepObject } from "./file-sweep/file-sweep-object.ts";
export { GatewayObject } from "./gateway/gateway-object.ts";
export { HolderObject } from "./holder/holder-object.ts";
export { MonitorObject } from "./monitor/monitor-object.ts";
export { RoomObject } from "./room/room-object.ts";
export { SpaceObject } from "./space/space-object.ts";
export default app;
