import type { Command } from "commander";
import { edgeAddress } from "../src/client/edge-address.ts";
import { DialoutError } from "../src/client/index.ts";
import type { Patient } from "../worker-client/doctor/diagnosis.ts";
import { report } from "../worker-client/doctor/report.ts";
import { addEdgeOptions, type EdgeOptions, readKey } from "./edge-options.ts";

type DoctorCliOptions = EdgeOptions & { json: boolean };

export function addDoctorCommand(root: Command): void {
  addEdgeOptions(root.command("doctor"))
    .description("say step by step what keeps you from the edge, or from a space")
    .argument("[space]", "a space to look at, too")
    .option("--json", "print one JSON object a line", false)
    .action(async (space: string | undefined, options: DoctorCliOptions) => {
      const patient: Patient = {
        role: "client",
        address: readAddress(options.url),
        space: space ?? null,
        credential: readKey(options.keyFile, process.env),
        program: null,
        env: process.env,
      };
      const isColored = process.stdout.isTTY === true && !process.env.NO_COLOR;
      const write = (line: string) => console.log(line);
      process.exitCode = await report(patient, { json: options.json, isColored, write });
    });
}

function readAddress(given: string): Patient["address"] {
  try {
    return { ok: true, url: edgeAddress(given, null) };
  } catch (error) {
    if (!(error instanceof DialoutError)) throw error;
    const advice = "give it with --url or DIALOUT_URL, such as https://dialout.example";
    return { ok: false, why: error.message, advice };
  }
}
