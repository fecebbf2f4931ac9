import type { Patient } from "./doctor/diagnosis.ts";
import { report } from "./doctor/report.ts";
import { readEdgeAddress, whyNotAnAddress } from "./edge-address.ts";

/** What `dialout-worker doctor` is given, by options and the environment. */
export interface DoctorRequest {
  url: string;
  space?: string;
  token: string | null;
  program?: string;
  json: boolean;
}

/** Prints what keeps a worker from serving, and returns the exit code. */
export function examineWorker({
  url,
  space,
  token,
  program,
  json,
}: DoctorRequest): Promise<number> {
  const patient: Patient = {
    role: "worker",
    address: readAddress(url),
    space: space ?? readEdgeAddress(url).space,
    credential: token,
    program: program ?? null,
    env: process.env,
  };
  const isColored = process.stdout.isTTY === true && !process.env.NO_COLOR;
  return report(patient, { json, isColored, write: (line) => console.log(line) });
}

function readAddress(given: string): Patient["address"] {
  const advice = "give it with --url or DIALOUT_URL, such as https://dialout.example";
  const why = whyNotAnAddress(given);
  if (why !== null) return { ok: false, why, advice };
  const url = new URL(readEdgeAddress(given).url);
  url.hash = "";
  url.search = "";
  if (url.pathname === "/") return { ok: true, url };
  const misplaced = "an edge is served at the root of a host name, and this address has a path";
  return { ok: false, why: misplaced, advice: `use ${url.origin}` };
}
