import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { refOf } from "../frames.ts";
import type { Scenario, Trial } from "../trial.ts";

const TEXT = "Grüße, ".repeat(30_000);
const NAME = "a picture ä.txt";

/** Where the worker uploads the output files of one attempt. The first upload breaks off in its middle. */
class OutputStore {
  readonly stored = new Map<string, Buffer>();
  readonly problems: string[] = [];
  tries = 0;
  readonly #start = `/api/outputs/${randomBytes(6).toString("hex")}/`;
  readonly url: string;

  constructor(trial: Trial) {
    this.url = `${trial.edge.url}${this.#start}{name}?expires=1&signature=s`;
    trial.edge.routes.set(this.#start, (request, response) => void this.#take(request, response));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.tries += 1;
    const { method, headers, url = "" } = request;
    const encoded = new URL(url, "http://edge").pathname.slice(this.#start.length);
    if (headers.authorization !== undefined) this.problems.push("`Authorization` was sent");
    if (method !== "PUT") this.problems.push(`the method was ${method}, not PUT`);
    if (!url.includes("signature=s")) this.problems.push("the address lost its signature");
    if (this.tries === 1) {
      request.once("data", () => request.socket.resetAndDestroy());
      return;
    }
    const pieces: Buffer[] = [];
    try {
      for await (const piece of request) pieces.push(piece as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(pieces);
    const name = decodeURIComponent(encoded);
    const digest = createHash("sha256").update(body).digest();
    const told = headers["repr-digest"];
    if (headers["content-length"] === undefined) this.problems.push("no `content-length` was sent");
    if (told !== undefined && !String(told).includes(digest.toString("base64"))) {
      this.problems.push("`repr-digest` is not that of the bytes");
    }
    this.stored.set(name, body);
    const type = headers["content-type"] ?? "application/octet-stream";
    const answer = { name, content_type: type, size: body.length, sha256: digest.toString("hex") };
    response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }
}

const outputFiles: Scenario = {
  name: "output files",
  rules: ["W36", "W36g"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const store = new OutputStore(trial);
    const input = { write: [{ name: NAME, text: TEXT }] };
    const job = socket.dispatch(input, { outputs: { url: store.url, max_bytes: 100_000_000 } });
    const end = await socket.end(job, "W36", 3 * trial.patienceMs);
    if (end.type !== "result" && store.tries === 0) {
      trial.giveUp(`the worker doesn't do the test job {"write": …}: ${end.message ?? end.type}`);
    }
    trial.require("W36", end.type === "result", `{"write": …} ended with: ${end.message}`);
    const [problem] = store.problems;
    trial.require("W36", problem === undefined, `an upload was not as it must be: ${problem}`);
    const isWhole = store.stored.get(NAME)?.toString() === TEXT;
    trial.require("W36", isWhole, "the file did not arrive whole after an upload that broke");
    const named = socket.about(job).flatMap(({ file, files }) => [file, ...namesIn(files)]);
    trial.require("W36", named.includes(NAME), "no `output` or `result` names the file");
    if (!socket.about(job).some(({ file }) => file === NAME)) {
      trial.giveUp("the worker names its files with the result");
    }
    const message = "The attempt has sent no such file.";
    const error = { code: "no_such_file", message, error: message, file: NAME };
    socket.send({ type: "error", ...error, ...refOf(job) });
    await pause(300);
    socket.drop();
    const resumed = [{ ...refOf(job), outputs: 0 }];
    const { socket: second } = await trial.connect("W20a", {}, { resumed });
    await second.end(job, "W20a");
    const again = second.about(job).some(({ file }) => file === NAME);
    trial.check("W36g", !again, "the frame was sent again after `no_such_file`");
  },
};

function namesIn(files: unknown): unknown[] {
  return Array.isArray(files) ? files : [];
}

export const OUTPUTS = [outputFiles] as const satisfies readonly Scenario[];
