import { setTimeout as pause } from "node:timers/promises";
import type { ReceivedFrame } from "../edge-socket.ts";
import { type AttemptRef, fromNow, refOf, registeredOf } from "../frames.ts";
import type { Scenario } from "../trial.ts";

function lists(register: ReceivedFrame, ref: AttemptRef): boolean {
  const { resume } = register;
  return Array.isArray(resume) && resume.some((entry) => isSame(Object(entry), ref));
}

function isSame(entry: Partial<AttemptRef>, ref: AttemptRef): boolean {
  return entry.job_id === ref.job_id && entry.attempt === ref.attempt;
}

const keptEnds: Scenario = {
  name: "an end whose acknowledgement was lost",
  rules: ["W20a", "W25", "W26", "W26a", "W6a"],
  async run(trial) {
    const { socket: first, register: former } = await trial.connect("W6");
    const job = first.dispatch({ pieces: 4 });
    await first.end(job, "W17");
    first.drop();
    const resumed = (outputs: number) => ({
      resumed: [{ ...refOf(job), outputs, deadline: job.deadline }],
    });
    const { socket: second, register } = await trial.connect("W20a", {}, resumed(2));
    const ids = `${former.worker_id} and ${register.worker_id}`;
    trial.check(
      "W6a",
      register.worker_id === former.worker_id,
      `two connections had the ids ${ids}`,
    );
    trial.require(
      "W25",
      lists(register, job),
      "`resume` lacks a job whose end was not acknowledged",
    );
    await second.end(job, "W20a");
    trial.kept("W20a");
    const missing = JSON.stringify(second.deltas(job));
    trial.check("W26", missing === "[2,3]", `with 2 of 4 outputs stored, ${missing} was sent`);
    second.drop();
    const { socket: third } = await trial.connect("W20a", {}, resumed(0));
    const end = await third.end(job, "W20a");
    const all = JSON.stringify(third.deltas(job));
    trial.check("W26a", all === "[0,1,2,3]", `with no output stored, ${all} was sent`);
    third.ack(job, end);
    await pause(300);
    third.close(1001);
    const { socket: fourth, register: last } = await trial.connect("W30");
    trial.check("W25", !lists(last, job), "`resume` lists a job that was acknowledged");
    const next = fourth.dispatch({ echo: "next" });
    const nextEnd = await fourth.end(next, "W17");
    trial.check("W17", nextEnd.type === "result", "the next job did not run");
  },
};

const running: Scenario = {
  name: "a break while a job runs",
  rules: ["W26", "W25", "W23"],
  async run(trial) {
    const { socket: first } = await trial.connect("W6");
    const job = first.dispatch({ pieces: 8, pause_s: 0.3 });
    await first.untilTrue(() => first.deltas(job).length >= 2);
    first.drop();
    const resumed = [{ ...refOf(job), outputs: 1, deadline: fromNow(60) }];
    const second = await trial.connection("W25");
    second.hello();
    const register = await second.next("register", "W25");
    trial.require("W25", lists(register, job), "`resume` lacks a job that runs");
    // The job runs on: what it says now must wait until it is known what the edge lacks.
    await pause(500);
    second.send(registeredOf({ resumed }));
    const end = await second.end(job, "W26");
    trial.require("W26", end.type === "result", `the job ended with \`${end.type}\` after a break`);
    const deltas = JSON.stringify(second.deltas(job));
    trial.check(
      "W26",
      deltas === "[1,2,3,4,5,6,7]",
      `with 1 of 8 outputs stored, ${deltas} was sent`,
    );
    second.ack(job, end);
    const canceled = second.dispatch({ sleep_s: 60 });
    await pause(300);
    second.drop();
    const again = [{ ...refOf(canceled), outputs: 0 }];
    const { socket: third } = await trial.connect("W25", {}, { resumed: again });
    third.send({ type: "cancel", ...refOf(canceled), reason: "told again" });
    const answer = await third.end(canceled, "W23", 9_000);
    trial.check("W23", answer.code === "canceled", "a cancel after a break was not answered so");
  },
};

const dropped: Scenario = {
  name: "dropped attempts",
  rules: ["W25a"],
  async run(trial) {
    const { socket: first } = await trial.connect("W6");
    const job = first.dispatch({ pieces: 100, pause_s: 0.1 });
    await first.nextAbout(job, "output", "W17");
    first.drop();
    const { socket: second } = await trial.connect("W25a", {}, { dropped: [refOf(job)] });
    await pause(1_500);
    const about = second.about(job).map(({ type }) => type);
    trial.require("W25a", about.length === 0, `\`${about[0]}\` came about a dropped attempt`);
    const next = second.dispatch({ pieces: 2 }, { job_id: job.job_id, attempt: 2 });
    const end = await second.end(next, "W25a");
    trial.check("W25a", end.type === "result", "the next attempt did not run after `dropped`");
    second.drop();
    const ended = [{ ...refOf(next), of: "result" as const }];
    const { socket: third } = await trial.connect("W25a", {}, { dropped: ended });
    await pause(500);
    const late = third.about(next).map(({ type }) => type);
    trial.check("W25a", late.length === 0, `\`${late[0]}\` came about an attempt that has ended`);
    third.close(1001);
    const { register } = await trial.connect("W25a");
    trial.check("W25a", !lists(register, next), "`resume` lists a dropped attempt");
  },
};

const deadlineAway: Scenario = {
  name: "a deadline while the edge is away",
  rules: ["W26b"],
  async run(trial) {
    const { socket: first } = await trial.connect("W6");
    const job = first.dispatch({ sleep_s: 4 }, { deadline: fromNow(1) });
    await pause(300);
    trial.edge.answerNext({ type: "page", status: 502 }, { type: "page", status: 502 });
    first.drop();
    await trial.edge.untilDialed(3, 10_000);
    const resumed = [{ ...refOf(job), outputs: 0, deadline: fromNow(60) }];
    const { socket: second, register } = await trial.connect("W26b", {}, { resumed });
    trial.require("W26b", lists(register, job), "the job was given up while the edge was away");
    const end = await second.end(job, "W26b");
    trial.require(
      "W26b",
      end.type === "result",
      `the job ended with \`${end.type}\` ${end.code ?? ""}`,
    );
  },
};

const deadlineMoves: Scenario = {
  name: "deadlines",
  rules: ["W15", "W15a"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    // The edge's `cancel` may be a moment late.
    const late = socket.dispatch({ sleep_s: 1 }, { deadline: fromNow(0.6) });
    const end = await socket.end(late, "W15");
    trial.check(
      "W15",
      end.type === "result",
      "a job was ended at its deadline, before any `cancel`",
    );
    socket.ack(late, end);
    const moved = socket.dispatch({ sleep_s: 3.5 }, { deadline: fromNow(1) });
    socket.send({ type: "deadline", ...refOf(moved), deadline: fromNow(60) });
    const movedEnd = await socket.end(moved, "W15a");
    trial.check(
      "W15a",
      movedEnd.type === "result",
      "a job was ended at the deadline that had moved",
    );
  },
};

export const RESUMING = [
  keptEnds,
  running,
  dropped,
  deadlineAway,
  deadlineMoves,
] as const satisfies readonly Scenario[];
