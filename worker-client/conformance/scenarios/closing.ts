import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Answer } from "../edge.ts";
import type { RuleId } from "../rules.ts";
import type { Scenario } from "../trial.ts";

/** Close codes after which the worker dials again; `null`: none, as many libraries send it. */
const TEMPORARY = [1001, 1012, 4408, 4429, 1011, 4999, null] as const;
const FINAL = [1000, 1008, 1009, 4400, 4401, 4403, 4404] as const;

const dialsAgain: Scenario = {
  name: "closes after which the worker dials again",
  rules: ["W30", "W31"],
  async run(trial) {
    for (const code of TEMPORARY) {
      const { socket } = await trial.connect("W30");
      const again = trial.requireDial("W30", `close ${code ?? "without a code"}`, 0);
      socket.close(code ?? undefined);
      await again;
    }
    const { socket } = await trial.connect("W30");
    const again = trial.requireDial("W30", "a connection that broke", 0);
    socket.drop();
    await again;
  },
};

function finalClose(code: number): Scenario {
  return {
    name: `close ${code}`,
    rules: ["W30"],
    async run(trial) {
      const { socket } = await trial.connect("W6");
      socket.close(code, "for good");
      await trial.requireNoDial("W30", `close ${code}`);
    },
  };
}

const replaced: Scenario = {
  name: "a worker that was replaced",
  rules: ["W7c"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const message = "Another connection of this worker took its place.";
    socket.send({ type: "error", code: "replaced", message, error: message });
    socket.close(4409, "replaced");
    await trial.requireNoDial("W7c", "it was replaced");
  },
};

/** Not 409: a worker may wait for a place then (W7c). */
const REFUSALS = [
  [401, "not_authenticated"],
  [403, "not_allowed"],
  [404, "space_not_found"],
  [426, "upgrade_required"],
] as const;

function finalRefusal([status, code]: (typeof REFUSALS)[number]): Scenario {
  const detail = `The conformance suite refuses with ${status} for good.`;
  return {
    name: `a refusal with ${status}`,
    rules: ["W4", "W3"],
    async run(trial) {
      trial.edge.answerNext({ type: "problem", status, code, detail });
      await trial.requireStart();
      await trial.requireNoDial("W4", `a problem with status ${status}`);
      const isShown = trial.worker.printed.includes(detail);
      trial.check("W3", isShown, `the \`detail\` of a problem with ${status} was not printed`);
    },
  };
}

/** The answers come one after the other; the worker dials again after each, with a back-off. */
function passingAnswers(
  name: string,
  answers: readonly { rule: RuleId; what: string; answer: Answer }[],
): Scenario {
  return {
    name,
    rules: [...new Set(answers.map(({ rule }) => rule)), "W31"],
    async run(trial) {
      trial.edge.answerNext(...answers.map(({ answer }) => answer));
      await trial.requireStart();
      for (const [index, { rule, what }] of answers.entries()) {
        await trial.requireDial(rule, what, index + 1);
      }
      await trial.connect("W6");
      const { dials } = trial.edge;
      const waits = dials.slice(1).map(({ at }, index) => at - (dials[index]?.at ?? 0));
      // The bounds are 2, 4 and 8 seconds, so a worker that waits at random practically never waits less in all.
      const isPausing = waits.reduce((sum, ms) => sum + ms, 0) > 250;
      trial.check(
        "W31",
        isPausing,
        `the worker dialed again at once: after ${waits.join(", ")} ms`,
      );
    },
  };
}

const unavailable = (status: number, code: string): Answer => ({
  type: "problem",
  status,
  code,
  detail: "Try again later.",
});

const REFUSED_FOR_NOW = passingAnswers("temporary refusals", [
  { rule: "W4", what: "status 503", answer: unavailable(503, "temporarily_unavailable") },
  { rule: "W4", what: "a connection that was reset", answer: { type: "reset" } },
  { rule: "W4", what: "status 429", answer: unavailable(429, "rate_limited") },
]);

const OF_SOMEBODY_ELSE = passingAnswers("answers of somebody else", [
  { rule: "W4a", what: "a page with status 401", answer: { type: "page", status: 401 } },
  { rule: "W4a", what: "a page with status 404", answer: { type: "page", status: 404 } },
  { rule: "W4a", what: "a page with status 200", answer: { type: "page", status: 200 } },
]);

const redirect: Scenario = {
  name: "a redirect",
  rules: ["W4c", "W4a"],
  async run(trial) {
    let visits = 0;
    const other = createServer((_, response) => response.writeHead(404).end());
    other.on("connection", () => {
      visits += 1;
    });
    other.on("upgrade", (_, socket) => socket.destroy());
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = other.address() as AddressInfo;
      const headers = { location: `http://127.0.0.1:${port}/elsewhere` };
      trial.edge.answerNext({ type: "page", status: 302, headers });
      await trial.requireStart();
      await trial.requireDial("W4a", "a redirect", 1);
      trial.check("W4c", visits === 0, "the worker followed a redirect to another server");
    } finally {
      other.closeAllConnections();
      other.close();
    }
  },
};

export const CLOSING: readonly Scenario[] = [
  REFUSED_FOR_NOW,
  OF_SOMEBODY_ELSE,
  redirect,
  dialsAgain,
  ...FINAL.map(finalClose),
  replaced,
  ...REFUSALS.map(finalRefusal),
];
