import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Json, JsonObject } from "../../../src/protocol/codec.ts";
import type { FileContent } from "../../file-upload.ts";
import type { Job } from "../../job.ts";
import type { Log } from "../../log.ts";
import { extensionOf, typeByName } from "../content-types.ts";
import { type JobFolder, safeFileName } from "../job-folder.ts";
import { PreviewSender } from "../preview-sender.ts";
import type { ComfyServer } from "./comfy-server.ts";
import { type ComfyFile, readOutputs, type SocketImage } from "./messages.ts";
import type { Workflow } from "./workflow.ts";

interface RunFilesDeps {
  server: ComfyServer;
  job: Job;
  folder: JobFolder;
  workflow: Workflow;
  /** The ids of the nodes whose files count; `null`: all. */
  outputs: readonly string[] | null;
  log: Log;
}

/** Nodes that send the picture over the socket, and store no file. */
const SENDS_PICTURES = new Set(["SaveImageWebsocket"]);

const KINDS: Record<string, string> = { image: "images", audio: "audio", video: "videos" };

/** The files of a run: pictures that come over the socket while it goes on, and what its nodes have stored. */
export class RunFiles {
  readonly #deps: RunFilesDeps;
  readonly #previews: PreviewSender;
  readonly #names = new Set<string>();
  readonly #made: Record<string, Json[]> = {};
  #sending: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  constructor(deps: RunFilesDeps) {
    this.#deps = deps;
    this.#previews = new PreviewSender(deps.job, deps.log);
  }

  onImage({ bytes, contentType, node }: SocketImage): void {
    const { workflow, job } = this.#deps;
    if (job.signal.aborted) return;
    if (node === null || !SENDS_PICTURES.has(workflow[node]?.class_type ?? "")) {
      this.#previews.offer(bytes, contentType);
      return;
    }
    if (!this.#counts(node)) return;
    const name = this.#free(`image.${extensionOf(contentType)}`);
    this.#sending = this.#sending
      .then(() => this.#send(name, bytes, contentType))
      .catch((error: unknown) => {
        this.#failure ??= error;
      });
  }

  /** Sends what the nodes have stored; returns the job's result, with the names of the files. */
  async finish(outputs: Record<string, JsonObject>): Promise<JsonObject> {
    await this.#sending;
    if (this.#failure !== null) throw this.#failure;
    const counted = Object.entries(outputs).filter(([node]) => this.#counts(node));
    const found = counted.map(([, output]) => readOutputs(output));
    const files = found.flatMap((output) => output.files);
    // Nodes for previews store theirs as temporary files: they are meant if there is nothing else.
    const stored = files.filter(({ type }) => type === "output");
    const wanted = stored.length > 0 ? stored : files.filter(({ type }) => type === "temp");
    for (const file of wanted) await this.#pass(file);
    await this.#previews.finish();
    const text = found.flatMap((output) => output.texts);
    return { ...this.#made, ...(text.length > 0 ? { text } : {}) };
  }

  #counts(node: string): boolean {
    return this.#deps.outputs?.includes(node) ?? true;
  }

  async #pass(file: ComfyFile): Promise<void> {
    const { server, job, folder } = this.#deps;
    const name = this.#free(safeFileName(file.filename));
    const path = join(folder.outputs.path, name);
    const answered = await server.download(file, path, job.signal);
    await this.#send(name, { path }, typeByName(name) ?? answered);
    await rm(path, { force: true });
  }

  async #send(name: string, content: FileContent, contentType: string): Promise<void> {
    const stored = await this.#deps.job.file(name, content, { contentType });
    const kind = KINDS[stored.contentType.split("/", 1)[0] ?? ""] ?? "files";
    this.#made[kind] = [...(this.#made[kind] ?? []), name];
  }

  /** The name, with a number if another file has it: nodes store in several folders. */
  #free(name: string): string {
    const [, stem = name, extension = ""] = /^(.*?)(\.[^.]+)?$/.exec(name) ?? [];
    let free = name;
    for (let number = 2; this.#names.has(free); number += 1) free = `${stem}-${number}${extension}`;
    this.#names.add(free);
    return free;
  }
}
