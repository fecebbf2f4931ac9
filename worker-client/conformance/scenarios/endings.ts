import { setTimeout as pause } from "node:timers/promises";
import { refOf } from "../frames.ts";
import type { Scenario } from "../trial.ts";

const failures: Scenario = {
  name: "jobs that fail",
  rules: ["W18", "W19"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ fail: "the planned reason" });
    const end = await socket.end(job, "W18");
    trial.require("W18", end.type === "fail", `{"fail": …} ended with \`${end.type}\``);
    trial.check(
      "W18",
      String(end.message).includes("the planned reason"),
      "`fail` lacks the reason",
    );
    trial.check("W18", end.retryable !== true, "a final failure was told as `retryable`");
    socket.ack(job, end);
    const again = socket.dispatch({ fail: "busy", retryable: true });
    const second = await socket.end(again, "W19");
    const isRetryable = second.type === "reject" || second.retryable === true;
    trial.check("W19", isRetryable, '{"fail": …, "retryable": true} was not told as retryable');
  },
};

const cancel: Scenario = {
  name: "cancels",
  rules: ["W23", "W21"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ sleep_s: 60 });
    await pause(300);
    socket.send({ type: "cancel", ...refOf(job), reason: "nobody wants it" });
    const end = await socket.end(job, "W23", 9_000);
    const isCanceled = end.type === "fail" && end.code === "canceled";
    trial.require(
      "W23",
      isCanceled,
      `a cancel was answered with \`${end.type}\` ${end.code ?? ""}`,
    );
    socket.ack(job, end);
    const strange = { ...refOf(job), attempt: 7 };
    socket.send({ type: "cancel", ...strange, reason: "you don't hold it" });
    const answer = await socket.end(strange, "W23");
    trial.check(
      "W23",
      answer.code === "canceled",
      "an attempt that isn't held was not answered so",
    );
    socket.ack(strange, answer);
    const late = socket.dispatch({ block_s: 1.2 });
    await pause(300);
    socket.send({ type: "cancel", ...refOf(late), reason: "nobody wants it" });
    const lateEnd = await socket.end(late, "W23", 9_000);
    trial.check(
      "W23",
      lateEnd.code === "canceled",
      "a job that looks at no cancel was not answered so",
    );
    socket.ack(late, lateEnd);
    const next = socket.dispatch({ echo: "next" });
    const nextEnd = await socket.end(next, "W23");
    trial.check("W23", nextEnd.type === "result", "the job after a cancel did not run");
    // Its end was sent, so there is nothing to answer: a second end would break W21.
    socket.send({ type: "cancel", ...refOf(next), reason: "too late" });
    await pause(500);
    trial.kept("W21");
  },
};

const stale: Scenario = {
  name: "stale attempts",
  rules: ["W22"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ pieces: 100, pause_s: 0.1 });
    await socket.nextAbout(job, "output", "W17");
    socket.stale(job);
    await pause(1_500);
    const again = socket.dispatch({ pieces: 2 }, { job_id: job.job_id, attempt: 2 });
    const end = await socket.end(again, "W22");
    trial.check("W22", end.type === "result", "the next attempt did not run after a `stale`");
    socket.stale(again);
    await pause(200);
    socket.close(1001);
    const { register } = await trial.connect("W22");
    const resume = JSON.stringify(register.resume ?? []);
    trial.check("W22", resume === "[]", `\`resume\` lists what was stale: ${resume}`);
  },
};

const errorAboutAttempt: Scenario = {
  name: "an error about one attempt",
  rules: ["W30b"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ sleep_s: 60 });
    await pause(300);
    const error = { code: "malformed_frame", message: "This frame can't be taken." };
    socket.send({
      type: "error",
      ...error,
      error: error.message,
      ...refOf(job),
      refused_frames: 1,
    });
    socket.stale(job);
    const next = socket.dispatch({ echo: 1 });
    const end = await socket.end(next, "W30b");
    trial.require("W30b", end.type === "result", "the next job did not run after an `error`");
  },
};

const workerDrains: Scenario = {
  name: "a worker that is stopped",
  rules: ["W28", "W19b"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ pieces: 6, pause_s: 0.5 });
    await socket.nextAbout(job, "output", "W17");
    trial.worker.terminate();
    await socket.next("drain", "W28", 5_000);
    const crossed = socket.dispatch({ echo: "crossed the drain" });
    const end = await socket.end(job, "W28");
    trial.check("W28", end.type === "result", `the running job ended with \`${end.type}\``);
    const isRejected = socket.about(crossed).some(({ type }) => type === "reject");
    const types = socket.frames.map(({ type }) => type);
    const order = !isRejected || types.indexOf("drain") < types.indexOf("reject");
    trial.check("W19b", order, "a job was rejected before `drain` was sent");
    socket.stale(crossed);
    socket.drop();
    const resumed = [{ ...refOf(job), outputs: 6 }];
    const { socket: second } = await trial.connect("W28", {}, { resumed });
    await second.next("drain", "W28", 5_000);
    const again = await second.end(job, "W20a");
    second.ack(job, again);
    await second.untilTrue(() => second.closeCode !== null);
    const code = second.closeCode;
    trial.check(
      "W28",
      code === 1000,
      `a drained worker closed with ${code ?? "nothing"}, not 1000`,
    );
  },
};

const edgeDrains: Scenario = {
  name: "a drain of the edge",
  rules: ["W28b"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const job = socket.dispatch({ pieces: 4, pause_s: 0.3 });
    await socket.nextAbout(job, "output", "W17");
    socket.send({ type: "drain", reason: "the operator drains the space" });
    const end = await socket.end(job, "W28b");
    trial.require("W28b", end.type === "result", `the running job ended with \`${end.type}\``);
    socket.ack(job, end);
    await pause(700);
    trial.check("W28b", socket.closeCode === null, `the worker closed with ${socket.closeCode}`);
  },
};

export const ENDINGS = [
  failures,
  cancel,
  stale,
  errorAboutAttempt,
  workerDrains,
  edgeDrains,
] as const satisfies readonly Scenario[];
