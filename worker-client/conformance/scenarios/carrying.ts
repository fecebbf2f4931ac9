import { setTimeout as pause } from "node:timers/promises";
import type { EdgeSocket } from "../edge-socket.ts";
import { jobOf } from "../frames.ts";
import type { Scenario, Trial } from "../trial.ts";

const LARGE = 300_000;
const MIB = 1_048_576;
/** How much may be under way before the first pong: the bound of W34b, and a message that was begun below it. */
const MOST_UNANSWERED = 400_000;

const silence: Scenario = {
  name: "an edge that falls silent",
  rules: ["W10", "W28a", "C17a"],
  async run(trial) {
    const hello = { heartbeat_s: 0.5, lease_s: 1.5 };
    const { socket: first } = await trial.connect("W6", hello);
    first.answersPings = false;
    const dropped = await trial.edge.untilDialed(2, 12_000);
    trial.require("W10", dropped, "the worker kept a connection that was silent for 12 s");
    await first.untilTrue(() => first.closeCode !== null, 2_000);
    trial.check("W28a", first.closeCode !== 1000, "it closed with 1000 although it came back");
    const { socket: second } = await trial.connect("W10", hello);
    second.answersPings = false;
    const message = JSON.stringify({ type: "news", padding: "x".repeat(LARGE) });
    second.send({ type: "sending", bytes: message.length });
    await second.trickle(message, 3 * hello.lease_s);
    const isPatient = second.closeCode === null;
    trial.require("C17a", isPatient, "it dropped a connection on which a message was arriving");
  },
};

const hugeFromEdge: Scenario = {
  name: "a message of 3 MiB from the edge",
  rules: ["C4"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    socket.send({ type: "sending", bytes: 3 * MIB + 35 });
    socket.send({ type: "news", padding: "x".repeat(3 * MIB) });
    const job = socket.dispatch({ echo: "still there" });
    const end = await socket.end(job, "C4");
    trial.require("C4", end.type === "result", "a job failed after a message of 3 MiB");
  },
};

const largeJob: Scenario = {
  name: "a large input and result",
  rules: ["W34", "W17", "C3"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const text = "ä€ x".repeat(LARGE / 8);
    socket.send({ type: "sending", bytes: Buffer.byteLength(text) + 400 });
    const job = socket.dispatch({ echo: text });
    const end = await socket.end(job, "W17", 3 * trial.patienceMs);
    trial.require("W17", end.output === text, "the result of a large `echo` is not what was sent");
    const position = socket.frames.indexOf(end);
    const before = socket.frames[position - 1];
    trial.check(
      "W34",
      before?.type === "sending",
      "a result of some 260,000 bytes was not announced",
    );
    if (before?.type !== "sending") return;
    const size = socket.sizes.get(end);
    const told = Number(before.bytes);
    trial.check("W34", told === size, `${told} bytes were announced for a message of ${size}`);
  },
};

const smallLimit: Scenario = {
  name: "an edge that takes small frames only",
  rules: ["C3"],
  async run(trial) {
    const { socket } = await trial.connect("W6", { max_frame_bytes: 20_000 });
    const job = socket.dispatch({ echo: "x".repeat(50_000) });
    const end = await socket.end(job, "C3");
    trial.check(
      "C3",
      end.type !== "result",
      "a result was sent that is larger than `max_frame_bytes`",
    );
  },
};

const pacing: Scenario = {
  name: "a connection that carries nothing away",
  rules: ["W34b"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    socket.answersPings = false;
    const job = socket.dispatch({ pieces: 60, size: 20_000 });
    await socket.untilTrue(() => socket.receivedBytes > MOST_UNANSWERED, 2_500);
    const sent = socket.receivedBytes;
    const why = `${sent} bytes were sent although no \`ping\` was answered`;
    trial.check("W34b", sent <= MOST_UNANSWERED, why);
    trial.check("W34b", socket.pings.length > 0, "no `ping` was sent behind 65,536 bytes");
    socket.answersPings = true;
    for (const _ of socket.pings) socket.pong();
    const end = await socket.end(job, "W34b", 2 * trial.patienceMs);
    trial.check("W34b", end.type === "result", "the job did not end once pings were answered");
  },
};

async function requireBatches(trial: Trial): Promise<EdgeSocket> {
  const socket = await trial.connection("W1");
  if (!socket.asksForBatches) trial.giveUp("the worker asks for no batches (`?batch=1`)");
  await socket.welcome({ batch: true });
  return socket;
}

const batches: Scenario = {
  name: "batches",
  rules: ["C6b", "C6a"],
  async run(trial) {
    const socket = await requireBatches(trial);
    const first = socket.dispatch({ echo: "first" });
    await socket.end(first, "C6b");
    // The acknowledgement frees the place for the job behind it.
    const ack = { type: "ack", job_id: first.job_id, attempt: first.attempt, of: "result" };
    const second = jobOf({ pieces: 2 });
    socket.send({ type: "batch", frames: [{ type: "news" }, ack, { type: 5 }, second] });
    const end = await socket.end(second, "C6b");
    trial.require("C6b", end.type === "result", "a job that came in a batch failed");
    await pause(100);
    trial.kept("C6a");
  },
};

export const CARRYING = [
  silence,
  hugeFromEdge,
  largeJob,
  smallLimit,
  pacing,
  batches,
] as const satisfies readonly Scenario[];
