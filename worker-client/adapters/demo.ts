import { JobFailure } from "../failure.ts";
import type { Adapter } from "./adapter.ts";
import { LanguageAnalysis } from "./language.ts";
import { TextRecognition } from "./text-recognition.ts";

export interface DemoOptions {
  /** The demo's pause after each sentence of its answer, milliseconds. */
  paceMs: number;
}

/** Does real work with models that are part of npm packages, so nothing is downloaded at run time. */
export function demoAdapter({ paceMs }: DemoOptions): Adapter {
  const language = new LanguageAnalysis(paceMs);
  const recognition = new TextRecognition();
  return {
    async handle(job) {
      const image = job.files.find((file) => file.contentType.startsWith("image/"));
      if (image !== undefined) return recognition.run(job, image);
      const { prompt } = job.input;
      if (typeof prompt === "string" && prompt.trim() !== "") return language.run(job, prompt);
      const got = job.files.map((file) => file.contentType).join(", ");
      throw new JobFailure(
        "worker_error",
        `This worker analyses a prompt or reads an image; it got ${got || "neither"}.`,
      );
    },
    close: () => recognition.close(),
  };
}
