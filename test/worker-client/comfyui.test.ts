import { describe, expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import type { Adapter } from "../../worker-client/adapters/adapter.ts";
import { comfyUiAdapter } from "../../worker-client/adapters/comfyui/comfyui.ts";
import { readMapping } from "../../worker-client/adapters/comfyui/mapping.ts";
import { readWorkflow } from "../../worker-client/adapters/comfyui/workflow.ts";
import { FakeComfyUi, WORKFLOW } from "../support/fake-comfyui.ts";
import { type EdgeConnection, type FakeEdge, OUTPUTS } from "../support/fake-edge.ts";
import { startEdge, startWorker } from "./start.ts";

const SIGNAL = new AbortController().signal;
const FLAGS = [
  "prompt=Positive prompt.text",
  "negative_prompt=7.text",
  "steps=3.inputs.steps",
  "seed=3.inputs.seed",
  "sampler=3.sampler_name",
  "scheduler=3.scheduler",
  "width=5.width",
  "cfg=3.cfg",
];
const PNG = Buffer.from("\x89PNG\r\n\x1a\n and so on", "latin1");

interface Setup {
  comfy: FakeComfyUi;
  adapter: Adapter;
  logged: string[];
  edge: FakeEdge;
  connection: EdgeConnection;
}

async function adapterFor(exported: JsonObject = WORKFLOW, flags = FLAGS, outputs: string[] = []) {
  const comfy = await FakeComfyUi.start();
  onTestFinished(() => comfy.close());
  const logged: string[] = [];
  const note = (line: string) => void logged.push(line);
  const log = { debug: note, info: note, warn: note, error: note };
  const workflow = readWorkflow(JSON.stringify(exported));
  const mapping = readMapping(workflow, undefined, flags, outputs);
  const times = { retryMs: 10, refreshMs: 60_000 };
  const adapter = comfyUiAdapter({ baseUrl: comfy.url, workflow, mapping, log, ...times });
  onTestFinished(() => adapter.close());
  return { comfy, adapter, logged };
}

async function serve(exported?: JsonObject, flags?: string[], outputs?: string[]): Promise<Setup> {
  const setup = await adapterFor(exported, flags, outputs);
  await setup.adapter.model?.untilReady(SIGNAL);
  const edge = await startEdge();
  startWorker(edge, { handler: setup.adapter.handle });
  const connection = await edge.connection();
  await connection.welcome();
  return { ...setup, edge, connection };
}

function inputsOf(workflow: JsonObject, node: string): JsonObject {
  return (workflow[node] as { inputs: JsonObject }).inputs;
}

function stored(comfy: FakeComfyUi, filename: string, type = "output", subfolder = ""): JsonObject {
  comfy.files.set(`${type}/${subfolder}/${filename}`, PNG);
  return { filename, subfolder, type };
}

describe("a workflow", () => {
  test("gets the job's inputs, reports its nodes, and its pictures become the job's outputs", async () => {
    const { comfy, edge, connection } = await serve();
    await connection.dispatch({
      input: { prompt: "a cat", steps: 4, seed: 7 },
      outputs: OUTPUTS,
    });
    const prompt = await comfy.prompt();
    expect(inputsOf(prompt.workflow, "6")).toEqual({ clip: ["4", 1], text: "a cat" });
    expect(inputsOf(prompt.workflow, "3")).toMatchObject({ steps: 4, seed: 7, cfg: 8 });
    expect(inputsOf(prompt.workflow, "7")).toMatchObject({ text: "bad hands" });

    prompt.start(["4", "5", "6", "7"]);
    prompt.executing("3");
    expect(await connection.next("progress")).toMatchObject({ progress: 0, message: "KSampler" });
    prompt.steps("3", 1, 4);
    await connection.next("progress");
    prompt.previewOf("3", Buffer.from("jpeg"));
    expect(await connection.next("output")).toMatchObject({ file: "preview-1.jpg", preview: true });
    prompt.steps("3", 3, 4);
    expect(await connection.next("progress")).toMatchObject({
      progress: 25,
      message: "KSampler, step 3 of 4",
      estimated_remaining: expect.any(Number),
    });
    prompt.executing("8");
    await connection.next("progress");
    const images = [stored(comfy, "me_00001_.png")];
    prompt.executed("9", { images });
    prompt.succeed({ "9": { images } });
    expect(await connection.next("output")).toMatchObject({ file: "me_00001_.png" });
    expect(await connection.next("result")).toMatchObject({
      output: { images: ["me_00001_.png"] },
    });
    expect(edge.outputs.get("me_00001_.png")).toEqual({ bytes: PNG, contentType: "image/png" });
    expect(edge.outputs.get("preview-1.jpg")?.contentType).toBe("image/jpeg");
  });

  test("draws a seed if the job gives none, and says which", async () => {
    const { comfy, connection } = await serve();
    await connection.dispatch({ input: {}, outputs: OUTPUTS });
    const prompt = await comfy.prompt();
    const { seed } = inputsOf(prompt.workflow, "3");
    expect(seed).not.toBe(8566257);
    prompt.start();
    prompt.succeed({});
    expect((await connection.until("result")).at(-1)).toMatchObject({
      output: { seeds: { seed } },
    });
  });

  test("gets pictures by upload, to the folder that ComfyUI empties", async () => {
    const exported = {
      ...WORKFLOW,
      "10": { class_type: "LoadImage", inputs: { image: "example.png" } },
    };
    const { comfy, adapter, edge, connection } = await serve(exported, ["photo=10.image"]);
    expect(await adapter.model?.untilReady(SIGNAL)).toMatchObject({
      input: { properties: { photo: { type: "string", format: "image" } }, required: ["photo"] },
    });
    const file = edge.serve("../me.png", Buffer.from("pixels"), {
      field: "photo",
      content_type: "image/png",
    });
    const { job_id } = await connection.dispatch({ input: {}, files: [file], outputs: OUTPUTS });
    const prompt = await comfy.prompt();
    const name = `dialout-${job_id}-1-photo-0-me.png`;
    expect(comfy.uploads).toMatchObject([{ name, bytes: "pixels", fields: { type: "temp" } }]);
    expect(inputsOf(prompt.workflow, "10")).toEqual({ image: `${name} [temp]` });
  });

  test("may send its picture over the socket instead of storing it", async () => {
    const exported = {
      ...WORKFLOW,
      "9": { class_type: "SaveImageWebsocket", inputs: { images: ["8", 0] } },
    };
    const { comfy, edge, connection } = await serve(exported);
    await connection.dispatch({ input: {}, outputs: OUTPUTS });
    const prompt = await comfy.prompt();
    prompt.start();
    prompt.executing("9");
    // As older versions do: without saying whose picture it is.
    prompt.preview(PNG, 2);
    prompt.preview(PNG, 2);
    prompt.succeed({});
    const frames = await connection.until("result");
    expect(frames.at(-1)).toMatchObject({ output: { images: ["image.png", "image-2.png"] } });
    expect(edge.outputs.get("image.png")?.bytes).toEqual(PNG);
  });

  test("has temporary files as outputs only if it stores none, and of chosen nodes if some are", async () => {
    const { comfy, connection } = await serve(WORKFLOW, FLAGS, ["8", "9"]);
    await connection.dispatch({ input: {}, outputs: OUTPUTS });
    const prompt = await comfy.prompt();
    prompt.start();
    prompt.succeed({
      "7": { images: [stored(comfy, "other.png")] },
      "8": { images: [stored(comfy, "a.png", "temp")], text: ["a caption"] },
      "9": {
        images: [stored(comfy, "b.png", "output", "x"), stored(comfy, "b.png", "output", "y")],
      },
    });
    expect((await connection.until("result")).at(-1)).toMatchObject({
      output: { images: ["b.png", "b-2.png"], text: ["a caption"] },
    });
  });

  test("takes no field that it doesn't map", async () => {
    const { connection } = await serve();
    await connection.dispatch({ input: { stepps: 4 } });
    expect((await connection.next("fail")).message).toContain("no input “stepps”; it has prompt,");
  });
});

describe("cancel", () => {
  test("takes a workflow that waits out of ComfyUI's queue, and interrupts nobody else's", async () => {
    const { comfy, connection } = await serve();
    const { job_id, attempt } = await connection.dispatch({ input: {} });
    await comfy.prompt();
    connection.send({ type: "cancel", job_id, attempt, reason: "asked" });
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
    expect(comfy.waiting).toEqual([]);
    expect(comfy.interrupts).toEqual([]);
  });

  test("interrupts a workflow that runs", async () => {
    const { comfy, connection } = await serve();
    const { job_id, attempt } = await connection.dispatch({ input: {} });
    const prompt = await comfy.prompt();
    comfy.waiting.pop();
    prompt.start();
    prompt.executing("3");
    await connection.next("progress");
    connection.send({ type: "cancel", job_id, attempt, reason: "asked" });
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
    expect(comfy.interrupts).toEqual([{ prompt_id: prompt.id }]);
  });
});

describe("what goes wrong", () => {
  test("ComfyUI's refusal is passed on with the titles of nodes, without paths (W18a)", async () => {
    const { comfy, connection } = await serve();
    comfy.refusal = {
      error: {
        type: "prompt_outputs_failed_validation",
        message: "Prompt outputs failed validation",
        details: "",
        extra_info: {},
      },
      node_errors: {
        "6": {
          errors: [
            {
              type: "x",
              message: "Value not in list",
              details: "text: '/home/me/x' not in (list of length 9)",
            },
          ],
          dependent_outputs: ["9"],
          class_type: "CLIPTextEncode",
        },
      },
    };
    await connection.dispatch({ input: {} });
    expect((await connection.next("fail")).message).toBe(
      "ComfyUI refused the workflow: “Positive prompt”: Value not in list (text: '…' not in (list of length 9))",
    );
  });

  test("a node's error is named in words; its traceback is only logged", async () => {
    const { comfy, connection, logged } = await serve();
    await connection.dispatch({ input: {} });
    const prompt = await comfy.prompt();
    prompt.start();
    prompt.executing("3");
    prompt.fail("3", "KSampler", "Allocation on device\nmore");
    const fail = (await connection.until("fail")).at(-1);
    expect(fail).toMatchObject({
      message: "ComfyUI's node “KSampler” failed: Allocation on device",
    });
    expect(logged.join()).toContain("/home/me/ComfyUI/execution.py");
  });

  test("somebody who interrupts it in ComfyUI ends the job", async () => {
    const { comfy, connection } = await serve();
    await connection.dispatch({ input: {} });
    const prompt = await comfy.prompt();
    prompt.start();
    prompt.interrupt();
    expect((await connection.until("fail")).at(-1)).toMatchObject({
      message: "Somebody interrupted the workflow in ComfyUI.",
    });
  });

  test("a socket that breaks is made again, and what ended meanwhile is found in the history", async () => {
    const { comfy, connection } = await serve();
    await connection.dispatch({ input: {}, outputs: OUTPUTS });
    const prompt = await comfy.prompt();
    prompt.start();
    comfy.dropSockets();
    prompt.succeed({ "9": { images: [stored(comfy, "a.png")] } });
    expect((await connection.until("result")).at(-1)).toMatchObject({
      output: { images: ["a.png"] },
    });
  });

  test("a ComfyUI that was started again has lost the workflow, and the job is tried again", async () => {
    const { comfy, connection } = await serve();
    await connection.dispatch({ input: {} });
    await comfy.prompt();
    comfy.waiting.pop();
    comfy.dropSockets();
    expect(await connection.next("fail")).toMatchObject({ retryable: true });
  });

  test("a workflow with a node that ComfyUI doesn't have can't be served", async () => {
    const exported = { ...WORKFLOW, "10": { class_type: "MyNode", inputs: {} } };
    const { adapter } = await adapterFor(exported);
    await expect(adapter.model?.untilReady(SIGNAL)).rejects.toThrow("no node of the class MyNode");
  });
});

test("the form has ComfyUI's types, bounds and choices, and the workflow's values", async () => {
  const { adapter } = await adapterFor();
  const schema = await adapter.model?.untilReady(SIGNAL);
  expect(schema?.input).toEqual({
    type: "object",
    properties: {
      prompt: { title: "Prompt", type: "string", format: "multiline", default: "a good picture" },
      negative_prompt: {
        title: "Negative prompt",
        type: "string",
        format: "multiline",
        default: "bad hands",
      },
      steps: {
        title: "Steps",
        type: "integer",
        minimum: 1,
        maximum: 10_000,
        description: "The number of steps.",
        default: 20,
      },
      seed: {
        title: "Seed",
        type: "integer",
        minimum: 0,
        description: "One is drawn if this is left empty.",
      },
      sampler: {
        title: "Sampler",
        enum: ["euler", "euler_ancestral", "heun"],
        description: "The algorithm.",
        default: "euler",
      },
      scheduler: { title: "Scheduler", enum: ["normal", "karras"], default: "normal" },
      width: {
        title: "Width",
        type: "integer",
        minimum: 16,
        maximum: 16_384,
        multipleOf: 8,
        default: 512,
      },
      cfg: { title: "Cfg", type: "number", minimum: 0, maximum: 100, default: 8 },
    },
  });
});
