import { expect, inject, it, onTestFinished } from "vitest";
import { RemoteWorker } from "../../worker-client/index.ts";
import { foreignAnswer, type Network } from "../support/network.ts";
import { EdgeClient } from "./client.ts";
import { type DialingProgram, FOLLOWERS, startSubmitter, WORKERS } from "./network-programs.ts";

const edge = new EdgeClient(inject("edgeUrl"));

interface Fault {
  name: string;
  begin(network: Network): void;
  /** How much time the fault takes a program that dials, milliseconds; 0: it need not dial again. */
  dialsWithin: number;
}

function foreign(status: string, headers?: Record<string, string>): Fault {
  const begin = (network: Network) => {
    network.set({ dials: { answer: foreignAnswer(status, headers) } });
    network.reset();
  };
  return { name: `somebody else answers with ${status}`, begin, dialsWithin: 2_000 };
}

/** What happens in networks, each to every program. */
const FAULTS: Fault[] = [
  { name: "connections are reset", begin: (network) => network.reset(), dialsWithin: 2_000 },
  { name: "connections fall silent", begin: (network) => network.freeze(), dialsWithin: 21_000 },
  {
    name: "no connection can be made",
    begin: (network) => {
      network.set({ dials: "reset" });
      network.reset();
    },
    dialsWithin: 2_000,
  },
  foreign("200 OK"),
  foreign("302 Found", { location: "http://login.invalid/" }),
  foreign("401 Unauthorized"),
  foreign("403 Forbidden"),
  foreign("404 Not Found"),
  foreign("409 Conflict"),
  foreign("429 Too Many Requests", { "retry-after": "1" }),
  foreign("503 Service Unavailable"),
  {
    name: "the network is slow",
    begin: (network) => network.set({ latencyMs: 100, bytesPerS: 20_000 }),
    dialsWithin: 0,
  },
  {
    name: "connections fall silent, and new ones hang",
    begin: (network) => {
      network.set({ dials: "hang" });
      network.freeze();
    },
    dialsWithin: 21_000,
  },
];

/** A job whose output the test writes, over a network without faults. */
async function startModel() {
  const space = await edge.makeSpace({ job_timeout_s: 600 });
  const { promise: isOver, resolve: finish } = Promise.withResolvers<void>();
  const { promise: started, resolve: start } = Promise.withResolvers<(text: string) => void>();
  const worker = new RemoteWorker({
    url: edge.url,
    space: space.name,
    token: space.token,
    async handler(job) {
      start((text) => job.output(text));
      await isOver;
      return null;
    },
  });
  void worker.run();
  onTestFinished(() => worker.stop());
  await expect.poll(() => worker.statistics().uptimeS >= 0).toBe(true);
  let id = "";
  await expect
    .poll(async () => {
      id = await edge.submit(space.name, {}).then(
        (job) => job.id,
        () => "",
      );
      return id;
    })
    .not.toBe("");
  return { space, job: id, write: await started, finish };
}

async function notice(program: DialingProgram, before: number, { dialsWithin }: Fault) {
  if (dialsWithin === 0) return;
  await program.pass?.(dialsWithin);
  await expect.poll(() => program.network.dials, { timeout: 40_000 }).toBeGreaterThan(before);
}

it("every program that dials goes on after every fault, and loses and doubles nothing", async () => {
  const model = await startModel();
  const place = { edge, job: model.job, space: model.space };
  const followers = await Promise.all(
    Object.entries(FOLLOWERS).map(async ([name, start]) => ({ name, ...(await start(place)) })),
  );
  const workers = await Promise.all(
    Object.entries(WORKERS).map(async ([name, start]) => {
      const space = await edge.makeSpace({ reconnect_grace_s: 90, offline: "queue" });
      return { name, space, ...(await start({ ...place, space })) };
    }),
  );
  const submitter = await startSubmitter({
    edge,
    space: await edge.makeSpace({ offline: "queue" }),
  });
  const programs = [...followers, ...workers, { name: "a submit", ...submitter }];
  const marks: string[] = [];
  for (const [index, fault] of FAULTS.entries()) {
    const mark = `mark-${index}`;
    marks.push(mark);
    const input = { mark, model: "slow echo" };
    await Promise.all(workers.map(({ space }) => edge.submit(space.name, input)));
    const before = programs.map(({ network }) => network.dials);
    for (const { network } of programs) fault.begin(network);
    model.write(`${mark} `);
    const submitted = submitter.submit(mark);
    await Promise.all(programs.map((program, at) => notice(program, before[at] ?? 0, fault)));
    for (const { network } of programs) network.set();
    await submitted;
    for (const { name, received } of programs) {
      const message = `${name}, after: ${fault.name}`;
      await expect.poll(received, { message, timeout: 40_000 }).toEqual(marks);
    }
  }
  model.finish();
}, 600_000);
