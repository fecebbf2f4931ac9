import { type IncomingHttpHeaders, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { addressUnder } from "../../src/client/edge-address.ts";
import { PROBLEMS } from "../../src/protocol/codes.ts";
import { problem } from "../../src/protocol/resources.ts";
import { sinceMs } from "./network-checks.ts";

/** What is read of an answer at most, bytes: an edge's own answers here are smaller. */
const MAX_BYTES = 65_536;

/** An HTTP answer from whatever is at the address. */
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** Time until the whole answer was there, milliseconds. */
  ms: number;
}

/** Who answers at the address of an edge. */
export interface Edge {
  url: URL;
  /** Sent as `Authorization: Bearer`; `null`: nothing is. */
  credential: string | null;
  /** How long one step may take, milliseconds. */
  stepMs: number;
}

/**
 * Sends one GET, and follows no redirect, because a redirect is something to report.
 *
 * @throws {Error} what kept the answer from coming
 */
export function get({ url, credential, stepMs }: Edge, path: string): Promise<Answer> {
  const started = performance.now();
  const address = addressUnder(url, path.split("?")[0] ?? path);
  address.search = path.includes("?") ? path.slice(path.indexOf("?")) : "";
  const send = address.protocol === "https:" ? requestHttps : requestHttp;
  const authorization = credential === null ? {} : { authorization: `Bearer ${credential}` };
  return new Promise((resolve, reject) => {
    const asked = send(address, {
      agent: false,
      headers: { accept: "application/json", ...authorization },
      timeout: stepMs,
    });
    asked.on("timeout", () =>
      asked.destroy(new Error(`no answer came within ${stepMs / 1_000} s`)),
    );
    asked.on("error", reject);
    asked.on("response", (response) => {
      let body = "";
      const end = () => {
        const { statusCode: status = 0, headers } = response;
        resolve({ status, headers, body, ms: sinceMs(started) });
        asked.destroy();
      };
      response.setEncoding("utf8").on("data", (piece: string) => {
        body += piece;
        if (body.length > MAX_BYTES) end();
      });
      response.on("end", end).on("error", reject);
    });
    asked.end();
  });
}

/** The edge's own refusal, if this is one. Others answer with the same statuses. */
export function refusalIn({ body, headers }: Answer): { code: string; detail: string } | null {
  if (!String(headers["content-type"] ?? "").startsWith("application/problem+json")) return null;
  const read = problem.safeParse(jsonIn(body));
  return read.success && Object.hasOwn(PROBLEMS, read.data.code) ? read.data : null;
}

/** `undefined` if it is not JSON. */
export function jsonIn(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
