import { DurableObject } from "cloudflare:workers";

export interface RelaySubmitFrame {
  type: "submit";
  ref: number;
  input: object;
}
export interface RelayResultFrame {
  type: "result";
  job_id: string;
  output: object;
}

/** Passes frames from submitters to the worker and back, and stores nothing. */
export class RelayObject extends DurableObject<unknown> {
  private readonly refs = new Map<string, { submitter: WebSocket; ref: number }>();

  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [new URL(request.url).pathname.split("/").at(-1) ?? ""]);
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string): Promise<void> {
    const frame = JSON.parse(message) as RelaySubmitFrame | RelayResultFrame;
    if (frame.type === "submit") this.onSubmit(crypto.randomUUID(), socket, frame);
    else this.onResult(frame);
  }

  override async webSocketClose(socket: WebSocket): Promise<void> {
    socket.close();
  }

  protected onSubmit(job_id: string, submitter: WebSocket, { ref, input }: RelaySubmitFrame): void {
    this.refs.set(job_id, { submitter, ref });
    const [worker] = this.ctx.getWebSockets("worker");
    worker?.send(JSON.stringify({ type: "job", job_id, input }));
  }

  protected onResult({ job_id, output }: RelayResultFrame): void {
    const waiting = this.refs.get(job_id);
    this.refs.delete(job_id);
    const end = { type: "end", ref: waiting?.ref, job_id, result: output };
    waiting?.submitter.send(JSON.stringify(end));
  }
}
