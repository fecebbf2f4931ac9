import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readMapping } from "../../worker-client/adapters/comfyui/mapping.ts";
import { readImage } from "../../worker-client/adapters/comfyui/messages.ts";
import { WorkflowProgress } from "../../worker-client/adapters/comfyui/progress.ts";
import { readWorkflow } from "../../worker-client/adapters/comfyui/workflow.ts";
import { withoutPlaces } from "../../worker-client/adapters/local-server/server-error.ts";
import { WORKFLOW } from "../support/fake-comfyui.ts";

const workflow = readWorkflow(JSON.stringify(WORKFLOW));

describe("a mapping", () => {
  test.each([
    ["prompt=6.inputs.text", [{ node: "6", input: "text" }]],
    ["prompt=6.text", [{ node: "6", input: "text" }]],
    ["prompt=Positive prompt.text", [{ node: "6", input: "text" }]],
    [
      "text=6.text,7.text",
      [
        { node: "6", input: "text" },
        { node: "7", input: "text" },
      ],
    ],
  ])("%s", (flag, targets) => {
    expect(readMapping(workflow, undefined, [flag], []).inputs).toMatchObject([{ targets }]);
  });

  test.each([
    ["prompt=60.text", "there is no such node. Its inputs: 3.inputs.cfg (KSampler)"],
    ["prompt=6.txt", "(CLIPTextEncode) has no input txt"],
    ["model=3.model", "comes from the node 4"],
    ["my prompt=6.text", "is not of the form"],
    ["prompt", "is not of the form"],
  ])("%s is refused: %s", (flag, words) => {
    expect(() => readMapping(workflow, undefined, [flag], [])).toThrow(words);
  });

  test("may come from a file, which can say more about a field; flags add to it", () => {
    const file = JSON.stringify({
      inputs: {
        prompt: { target: "6.text", required: true, schema: { title: "What to paint" } },
        steps: "3.steps",
      },
      outputs: ["9"],
    });
    expect(readMapping(workflow, file, ["steps=3.cfg"], [])).toEqual({
      inputs: [
        {
          name: "prompt",
          targets: [{ node: "6", input: "text" }],
          required: true,
          schema: { title: "What to paint" },
        },
        { name: "steps", targets: [{ node: "3", input: "cfg" }], required: false, schema: {} },
      ],
      outputs: ["9"],
    });
  });

  test("of nothing lists what could be mapped", () => {
    expect(() => readMapping(workflow, undefined, [], [])).toThrow(
      /6\.inputs\.text \(CLIPTextEncode\)/,
    );
  });

  test.each([
    ["{", "not JSON"],
    ['{"inputs":{},"outpts":[]}', "not known here: outpts"],
    ['{"inputs":{"a b":"6.text"}}', "letters, digits and _"],
  ])("file that is wrong is refused: %s", (file, words) => {
    expect(() => readMapping(workflow, file, [], [])).toThrow(words);
  });
});

test.each([
  ["{", "is not valid JSON"],
  ['{"nodes":[],"links":[]}', "Export (API)"],
  ["[]", "no workflow of ComfyUI's API"],
  ["{}", "no workflow of ComfyUI's API"],
])("a workflow file that is none is refused: %s", (text, words) => {
  expect(() => readWorkflow(text)).toThrow(words);
});

describe("progress", () => {
  const nodes = Object.keys(workflow);
  const event = fc.oneof(
    fc.record({ type: fc.constant("cached"), nodes: fc.subarray(nodes) }),
    fc.record({ type: fc.constant("executing"), node: fc.constantFrom(...nodes, "12.0.1", null) }),
    fc.record({
      type: fc.constant("steps"),
      node: fc.constantFrom(...nodes, null),
      value: fc.integer({ min: -1, max: 30 }),
      max: fc.integer({ min: 0, max: 20 }),
    }),
    fc.record({ type: fc.constant("finished"), node: fc.constantFrom(...nodes) }),
  );
  const times = fc.dictionary(fc.constantFrom(...nodes), fc.nat(10_000));

  test("never goes back, never reaches 100 before the result, and the time that is left is none below 0", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.nat(5_000))), times, (events, before) => {
        const progress = new WorkflowProgress(nodes, new Map(Object.entries(before)));
        let now = 0;
        let percent = 0;
        for (const [happened, ms] of events) {
          now += ms;
          if (happened.type === "cached") progress.onCached(happened.nodes);
          if (happened.type === "executing") progress.onExecuting(happened.node, now);
          if (happened.type === "finished") progress.onFinished(happened.node);
          if (happened.type === "steps") {
            progress.onSteps(happened.node, happened.value, happened.max, now);
          }
          const report = progress.report(now);
          expect(report.percent).toBeGreaterThanOrEqual(percent);
          expect(report.percent).toBeLessThanOrEqual(99);
          if (report.remainingS !== undefined) expect(report.remainingS).toBeGreaterThanOrEqual(0);
          percent = report.percent;
        }
      }),
    );
  });

  test("weighs nodes by how long they took before, and estimates from the steps of the one that runs", () => {
    const before = new Map([
      ["a", 1_000],
      ["b", 8_000],
      ["c", 1_000],
    ]);
    const progress = new WorkflowProgress(["a", "b", "c"], before);
    progress.onExecuting("a", 0);
    expect(progress.report(500)).toMatchObject({ percent: 0, remainingS: 9.5 });
    progress.onExecuting("b", 1_000);
    progress.onSteps("b", 1, 5, 2_000);
    progress.onSteps("b", 3, 5, 4_000);
    expect(progress.report(4_000)).toMatchObject({
      percent: 58,
      remainingS: 3,
      steps: { value: 3, max: 5 },
    });
    progress.onExecuting("c", 6_000);
    expect(progress.times.get("b")).toBe(5_000);
  });
});

test("binary messages that are cut or unknown are no pictures, and break nothing", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const image = readImage(Buffer.from(bytes));
      if (image !== null) expect(image.bytes.length).toBeGreaterThan(0);
    }),
  );
});

test.each([
  ["see http://10.0.0.7:8188/view?x=1 now", "see … now"],
  ["connect 192.168.1.5:8188 failed", "connect … failed"],
  ["gpu-box.lan:11434 refused", "… refused"],
  ["no file /home/me/models/a.safetensors here", "no file … here"],
  ["no file C:\\Users\\me\\a.ckpt here", "no file … here"],
  ["use 1/2 of it, and/or text/plain", "use 1/2 of it, and/or text/plain"],
])("%s: places are left out (W18a)", (text, shown) => {
  expect(withoutPlaces(text)).toBe(shown);
});
