import { setTimeout as pause } from "node:timers/promises";
import type { EdgeSocket } from "../edge-socket.ts";
import { CONFIG, registeredOf } from "../frames.ts";
import type { Scenario, Trial } from "../trial.ts";

const HEARTBEAT_S = 0.4;
/** Later than a ping is due, seconds: the worker's machine may be busy with other things. */
const LATE_S = 3;

/** Checks that pings come while `work` goes on. */
async function checkPings(trial: Trial, socket: EdgeSocket, what: string): Promise<void> {
  const before = socket.pings.length;
  const ms = (2 * HEARTBEAT_S + LATE_S) * 1_000;
  const came = await socket.untilTrue(() => socket.pings.length >= before + 2, ms);
  const got = socket.pings.length - before;
  trial.require("W9", came, `${got} pings came within ${ms} ms while the worker ${what}`);
}

const firstJob: Scenario = {
  name: "a first job",
  rules: ["W1", "W2", "W6", "W8", "C1", "C2a", "W9", "W12", "W16a", "W17", "W21", "C3", "C6a"],
  async run(trial) {
    const socket = await trial.connection("W1");
    trial.kept("W1", "W2");
    socket.hello({ heartbeat_s: HEARTBEAT_S });
    await socket.next("register", "W6");
    await pause(300);
    const others = socket.frames.filter(({ type }) => type !== "register" && type !== "sending");
    trial.check("W8", others.length === 0, `\`${others[0]?.type}\` came before \`registered\``);
    socket.send(registeredOf());
    trial.kept("W6");
    socket.send({ type: "weather", temperature: 21, nested: { type: "job" } });
    socket.send(CONFIG);
    await pause(200);
    trial.require("C1", socket.closeCode === null, "the worker ended because of an unknown frame");
    socket.pong();
    socket.pong();
    await pause(200);
    trial.require("C2a", socket.closeCode === null, "the worker ended because of a `pong`");
    await checkPings(trial, socket, "was idle");
    const job = socket.dispatch({ pieces: 3 });
    const accept = await socket.untilTrue(() => socket.about(job).length > 0);
    const first = socket.about(job)[0]?.type ?? "nothing";
    trial.require(
      "C1",
      accept,
      "a job with unknown fields, after unknown frames, was not answered",
    );
    trial.check("W12", first === "accept", `\`${first}\` was the first answer to the job`);
    const end = await socket.end(job, "W17");
    trial.require("W17", end.type === "result", `the job {"pieces": 3} ended with \`${end.type}\``);
    const deltas = JSON.stringify(socket.deltas(job));
    trial.check("W21", deltas === "[0,1,2]", `the outputs of {"pieces": 3} were ${deltas}`);
    const progress = socket.about(job).filter(({ type }) => type === "progress");
    if (progress.length > 0) trial.kept("W16a");
    socket.ack(job, end);
    // What breaks these was noted when it came.
    trial.kept("C3", "C6a");
    const busy = socket.dispatch({ block_s: 60 });
    await pause(100);
    await checkPings(trial, socket, "ran a job");
    socket.stale(busy);
  },
};

const sameJobTwice: Scenario = {
  name: "a job frame that comes twice",
  rules: ["W21"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ sleep_s: 0.5 });
    socket.send(job);
    const end = await socket.end(job, "W21");
    await pause(800);
    socket.ack(job, end);
    // A second end was noted when it came.
    trial.kept("W21");
  },
};

const garbage: Scenario = {
  name: "messages that are no frames",
  rules: ["C1a"],
  async run(trial) {
    let { socket } = await trial.connect("W6");
    for (const text of ["this is no JSON", "[]", '{"no":"type"}', '{"type":5}', "\u0000", null]) {
      if (text === null) socket.sendBytes(new Uint8Array([1, 2, 3]));
      else socket.sendText(text);
      await pause(150);
      if (socket.closeCode !== null) ({ socket } = await trial.connect("C1a"));
      const job = socket.dispatch({ echo: "still there" });
      const end = await socket.end(job, "C1a");
      trial.require("C1a", end.type === "result", `a job failed after ${JSON.stringify(text)}`);
      socket.ack(job, end);
    }
  },
};

const otherProtocol: Scenario = {
  name: "an edge of another protocol",
  rules: ["W5"],
  async run(trial) {
    const socket = await trial.connection("W1");
    socket.hello({ protocol: "dialout.worker.v9" });
    await socket.untilTrue(() => socket.frames.length > 0 || socket.closeCode !== null, 1_500);
    const isGivenUp = socket.frames.length === 0;
    trial.require("W5", isGivenUp, "the worker registered with `dialout.worker.v9`");
  },
};

const schema: Scenario = {
  name: "a schema at register",
  rules: ["W35"],
  async run(trial) {
    const { register } = await trial.connect("W6");
    const given = register.schema;
    if (given === undefined) trial.giveUp("the worker registers no schema");
    const bytes = Buffer.byteLength(JSON.stringify(given));
    trial.require("W35", bytes <= 65_536, `the schema has ${bytes} bytes`);
    const isObject = typeof given === "object" && given !== null && !Array.isArray(given);
    trial.require("W35", isObject, "the schema is no object");
    const { input } = Object(given);
    const type = Object(input).type;
    trial.require("W35", input === undefined || type === "object", "`schema.input` is no object's");
    const text = JSON.stringify(given);
    const remote = /"\$ref":"(?!#)[^"]*"/.exec(text)?.[0];
    trial.require("W35", remote === undefined, `the schema refers to another one: ${remote}`);
  },
};

const readCheck: Scenario = {
  name: "a read check",
  rules: ["C18a"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const token = "conformance-token";
    socket.send({ type: "read_check", token });
    const what = "the `read_check`";
    await socket.until(
      (frame) => frame.type === "read_check" && frame.token === token,
      "C18a",
      what,
      3_000,
    );
    trial.kept("C18a");
  },
};

export const REGISTERING = [
  firstJob,
  sameJobTwice,
  garbage,
  otherProtocol,
  schema,
  readCheck,
] as const satisfies readonly Scenario[];
