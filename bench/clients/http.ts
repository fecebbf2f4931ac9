import { Pool } from "undici";
import type { Submitter } from "./submitter.ts";

/** Sends requests over connections that stay open; any answer but 2xx throws. */
export class HttpSubmitter implements Submitter {
  private readonly pool: Pool;
  private readonly request: Parameters<Pool["request"]>[0];

  constructor(url: string, body: string, connections: number) {
    const { origin, pathname } = new URL(url);
    this.pool = new Pool(origin, { connections, pipelining: 1 });
    const headers = { "content-type": "application/json" };
    this.request = { method: "POST", path: pathname, headers, body };
  }

  async submit(): Promise<void> {
    const { statusCode, body } = await this.pool.request(this.request);
    const text = await body.text();
    if (statusCode < 200 || statusCode > 299) {
      throw new Error(`${this.request.path} answered ${statusCode}: ${text.slice(0, 300)}`);
    }
  }
}
