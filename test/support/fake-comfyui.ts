import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import { Mailbox } from "./fake-edge.ts";
import { textOf } from "./fake-openai.ts";

/** A workflow in ComfyUI's queue, which the test runs as it likes. */
export class FakePrompt {
  readonly id = randomUUID();
  readonly workflow: JsonObject;
  readonly clientId: string;
  readonly #server: FakeComfyUi;

  constructor(server: FakeComfyUi, workflow: JsonObject, clientId: string) {
    this.#server = server;
    this.workflow = workflow;
    this.clientId = clientId;
  }

  send(type: string, data: JsonObject): void {
    this.#server.sendTo(this.clientId, { type, data: { ...data, prompt_id: this.id } });
  }

  start(cached: string[] = []): void {
    this.#server.running = this;
    this.send("execution_start", { timestamp: 1 });
    this.send("execution_cached", { nodes: cached, timestamp: 1 });
  }

  executing(node: string | null): void {
    this.send("executing", { node, display_node: node });
  }

  steps(node: string, value: number, max: number): void {
    this.send("progress", { node, value, max });
  }

  /** A preview as the sampler sends it: 1 is JPEG, 2 is PNG. */
  preview(bytes: Buffer, format = 1): void {
    this.#server.sendBytes(this.clientId, Buffer.concat([uint32(1), uint32(format), bytes]));
  }

  /** The same for clients that have announced `supports_preview_metadata`. */
  previewOf(node: string, bytes: Buffer, imageType = "image/jpeg"): void {
    const metadata = Buffer.from(
      JSON.stringify({
        node_id: node,
        prompt_id: this.id,
        display_node_id: node,
        parent_node_id: null,
        real_node_id: node,
        image_type: imageType,
      }),
    );
    const parts = [uint32(4), uint32(metadata.length), metadata, bytes];
    this.#server.sendBytes(this.clientId, Buffer.concat(parts));
  }

  executed(node: string, output: JsonObject): void {
    this.send("executed", { node, display_node: node, output });
  }

  succeed(outputs: JsonObject): void {
    this.send("execution_success", { timestamp: 2 });
    this.#finish(outputs, "success", []);
    this.executing(null);
  }

  fail(node: string, type: string, message: string): void {
    const data = {
      prompt_id: this.id,
      node_id: node,
      node_type: type,
      executed: [],
      exception_message: message,
      exception_type: "RuntimeError",
      traceback: ['  File "/home/me/ComfyUI/execution.py", line 1, in run\n'],
      current_inputs: {},
      current_outputs: [],
    };
    this.send("execution_error", data);
    this.#finish({}, "error", [["execution_error", data]]);
    this.executing(null);
  }

  interrupt(): void {
    const data = { prompt_id: this.id, node_id: "3", node_type: "KSampler", executed: [] };
    this.send("execution_interrupted", data);
    this.#finish({}, "error", [["execution_interrupted", data]]);
    this.executing(null);
  }

  #finish(outputs: JsonObject, status_str: string, messages: Json[]): void {
    this.#server.running = null;
    const completed = status_str === "success";
    const status = { status_str, completed, messages };
    this.#server.history.set(this.id, { prompt: [], outputs, status, meta: {} });
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** ComfyUI's HTTP and WebSocket API, without a model: the test says what a workflow does. */
export class FakeComfyUi {
  readonly url: URL;
  /** What `/object_info` says, by the class of a node. */
  nodes: Record<string, JsonObject> = NODES;
  running: FakePrompt | null = null;
  readonly waiting: FakePrompt[] = [];
  readonly history = new Map<string, JsonObject>();
  /** Files of `/view`, by `type/subfolder/name`. */
  readonly files = new Map<string, Buffer>();
  /** The names of uploaded files with their content, and the fields that came with them. */
  readonly uploads: { name: string; bytes: string; fields: Record<string, string> }[] = [];
  readonly interrupts: Json[] = [];
  /** The answer of the next `POST /prompt`, instead of taking it. */
  refusal: JsonObject | null = null;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #clients = new Map<string, WebSocket>();
  readonly #prompts = new Mailbox<FakePrompt>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on("request", (request, response) => void this.#onRequest(request, response));
    server.on("upgrade", (request, socket, head) => {
      const clientId = new URL(request.url ?? "", this.url).searchParams.get("clientId") ?? "";
      this.#sockets.handleUpgrade(request, socket, head, (client) => {
        this.#clients.set(clientId, client);
        const status = { exec_info: { queue_remaining: this.waiting.length } };
        client.send(JSON.stringify({ type: "status", data: { status, sid: clientId } }));
      });
    });
  }

  static async start(port = 0): Promise<FakeComfyUi> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    return new FakeComfyUi(server);
  }

  /** The next workflow that was submitted. It waits until the test starts it. */
  prompt(): Promise<FakePrompt> {
    return this.#prompts.take();
  }

  sendTo(clientId: string, message: JsonObject): void {
    this.#clients.get(clientId)?.send(JSON.stringify(message));
  }

  sendBytes(clientId: string, bytes: Buffer): void {
    this.#clients.get(clientId)?.send(bytes);
  }

  dropSockets(): void {
    for (const client of this.#sockets.clients) client.terminate();
    this.#clients.clear();
  }

  async close(): Promise<void> {
    this.dropSockets();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "", this.url);
    const [, first = "", second = ""] = pathname.split("/").map(decodeURIComponent);
    const json = (value: Json, status = 200) => {
      response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
      response.end(JSON.stringify(value));
    };
    switch (`${request.method} /${first}`) {
      case "GET /object_info": {
        const info = this.nodes[second];
        return json(info === undefined ? {} : { [second]: info });
      }
      case "POST /prompt":
        return this.#onPrompt(JSON.parse(await textOf(request)), json);
      case "GET /history": {
        const entry = this.history.get(second);
        return json(entry === undefined ? {} : { [second]: entry });
      }
      case "GET /queue":
        return json({
          queue_running: this.running === null ? [] : [[0, this.running.id, {}, {}, []]],
          queue_pending: this.waiting.map(({ id }) => [1, id, {}, {}, []]),
        });
      case "POST /queue": {
        const { delete: ids } = JSON.parse(await textOf(request)) as { delete: string[] };
        for (const id of ids) {
          const at = this.waiting.findIndex((prompt) => prompt.id === id);
          if (at >= 0) this.waiting.splice(at, 1);
        }
        response.end();
        return;
      }
      case "POST /interrupt":
        this.interrupts.push(JSON.parse(await textOf(request)));
        response.end();
        this.running?.interrupt();
        return;
      case "POST /upload": {
        const { name, fields, bytes } = readForm(await textOf(request));
        this.uploads.push({ name, fields, bytes });
        return json({ name, subfolder: "", type: fields.type ?? "input" });
      }
      case "GET /view": {
        const { filename, subfolder, type } = Object.fromEntries(searchParams);
        const bytes = this.files.get(`${type}/${subfolder}/${filename}`);
        response.writeHead(bytes === undefined ? 404 : 200, { "content-type": "image/png" });
        response.end(bytes);
        return;
      }
      default:
        response.writeHead(404).end();
    }
  }

  #onPrompt(body: JsonObject, json: (value: Json, status?: number) => void): void {
    if (this.refusal !== null) {
      json(this.refusal, 400);
      this.refusal = null;
      return;
    }
    const prompt = new FakePrompt(this, body.prompt as JsonObject, String(body.client_id));
    this.waiting.push(prompt);
    json({ prompt_id: prompt.id, number: 1, node_errors: {} });
    this.#prompts.put(prompt);
  }
}

/** Reads a form whose file is text. */
function readForm(body: string): { name: string; fields: Record<string, string>; bytes: string } {
  const fields: Record<string, string> = {};
  let name = "";
  for (const part of body.split(/--dialout-[\w-]+(?:--)?\r\n/)) {
    const [head = "", content = ""] = part.split(/\r\n\r\n([\s\S]*)/);
    const field = /name="([^"]*)"/.exec(head)?.[1];
    if (field === undefined) continue;
    name = /filename="([^"]*)"/.exec(head)?.[1] ?? name;
    fields[field] = content.replace(/\r\n$/, "");
  }
  return { name, fields, bytes: fields.image ?? "" };
}

/** Parts of what a real ComfyUI says about its nodes, in the older and the newer form of choices. */
const NODES: Record<string, JsonObject> = {
  KSampler: {
    input: {
      required: {
        model: ["MODEL", { tooltip: "The model used for denoising." }],
        seed: [
          "INT",
          { default: 0, min: 0, max: 18446744073709552000, control_after_generate: true },
        ],
        steps: ["INT", { default: 20, min: 1, max: 10000, tooltip: "The number of steps." }],
        cfg: ["FLOAT", { default: 8.0, min: 0.0, max: 100.0, step: 0.1, round: 0.01 }],
        sampler_name: [["euler", "euler_ancestral", "heun"], { tooltip: "The algorithm." }],
        scheduler: ["COMBO", { options: ["normal", "karras"] }],
        denoise: ["FLOAT", { default: 1.0, min: 0.0, max: 1.0, step: 0.01 }],
      },
    },
    display_name: "KSampler",
    output_node: false,
  },
  CheckpointLoaderSimple: { input: { required: { ckpt_name: [["sd15.safetensors"], {}] } } },
  EmptyLatentImage: {
    input: {
      required: {
        width: ["INT", { default: 512, min: 16, max: 16384, step: 8 }],
        height: ["INT", { default: 512, min: 16, max: 16384, step: 8 }],
        batch_size: ["INT", { default: 1, min: 1, max: 4096 }],
      },
    },
  },
  CLIPTextEncode: {
    input: {
      required: {
        text: ["STRING", { multiline: true, dynamicPrompts: true }],
        clip: ["CLIP", {}],
      },
    },
  },
  LoadImage: { input: { required: { image: [["example.png"], { image_upload: true }] } } },
  VAEDecode: { input: { required: { samples: ["LATENT"], vae: ["VAE"] } } },
  SaveImage: {
    input: { required: { images: ["IMAGE"], filename_prefix: ["STRING", { default: "ComfyUI" }] } },
    output_node: true,
  },
  SaveImageWebsocket: { input: { required: { images: ["IMAGE"] } }, output_node: true },
};

/** The workflow of ComfyUI's own examples. */
export const WORKFLOW: JsonObject = {
  "3": {
    class_type: "KSampler",
    inputs: {
      cfg: 8,
      denoise: 1,
      latent_image: ["5", 0],
      model: ["4", 0],
      negative: ["7", 0],
      positive: ["6", 0],
      sampler_name: "euler",
      scheduler: "normal",
      seed: 8566257,
      steps: 20,
    },
  },
  "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "sd15.safetensors" } },
  "5": { class_type: "EmptyLatentImage", inputs: { batch_size: 1, height: 512, width: 512 } },
  "6": {
    class_type: "CLIPTextEncode",
    inputs: { clip: ["4", 1], text: "a good picture" },
    _meta: { title: "Positive prompt" },
  },
  "7": { class_type: "CLIPTextEncode", inputs: { clip: ["4", 1], text: "bad hands" } },
  "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
  "9": { class_type: "SaveImage", inputs: { filename_prefix: "me", images: ["8", 0] } },
};
