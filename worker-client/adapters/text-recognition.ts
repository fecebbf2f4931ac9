import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Worker as WorkerThread } from "node:worker_threads";
import type { Worker as Recognizer } from "tesseract.js";
import type { JsonObject } from "../../src/protocol/codec.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { JobFile } from "../submitted-file.ts";
import { loadOptional } from "./optional-package.ts";

const PACKAGES = ["tesseract.js", "@tesseract.js-data/eng"];
/** A recognizer needs about 100 MB, so only one is kept; others are created when needed, then ended. */
const KEPT_IDLE = 1;

/** A recognizer and its thread, for one image at a time. */
interface RecognitionEngine {
  recognizer: Recognizer;
  /** Rejects if the thread, or the recognizer in it, fails; never resolves. */
  broken: Promise<never>;
  onProgress: (fraction: number) => void;
}

/** Reads the text in images, with the model that ships in an npm package. */
export class TextRecognition {
  readonly #idle: RecognitionEngine[] = [];

  async run(job: Job, file: JobFile): Promise<JsonObject> {
    job.progress(0, "Loading the text recognition model");
    const image = await file.download();
    const engine = this.#idle.pop() ?? (await startEngine());
    engine.onProgress = (fraction) => job.progress(Math.round(fraction * 100), "Recognising text");
    const { promise: stopped, cancel } = rejectOnAbort(job.signal);
    try {
      const recognized = engine.recognizer.recognize(image, {}, { text: true, blocks: true });
      const { data } = await Promise.race([recognized, engine.broken, stopped]);
      this.#release(engine);
      job.output(data.text);
      const words = data.text.split(/\s+/).filter((word) => word !== "").length;
      return { text: data.text, confidence: data.confidence, words };
    } catch (error) {
      // The recognizer may still be busy with this image, or be broken, so it can't be used again.
      void engine.recognizer.terminate();
      if (job.signal.aborted) throw error;
      throw new JobFailure(
        "worker_error",
        `No text could be read from "${file.name}" (${file.contentType}): ${describe(error)}`,
      );
    } finally {
      cancel();
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map(({ recognizer }) => recognizer.terminate()));
  }

  #release(engine: RecognitionEngine): void {
    engine.onProgress = () => {};
    if (this.#idle.length < KEPT_IDLE) this.#idle.push(engine);
    else void engine.recognizer.terminate();
  }
}

async function startEngine(): Promise<RecognitionEngine> {
  const [{ createWorker }, langPath] = await loadOptional(PACKAGES, async () => {
    const require = createRequire(import.meta.url);
    const data = dirname(require.resolve("@tesseract.js-data/eng/package.json"));
    const tesseract = await import("tesseract.js");
    return [tesseract.default, join(data, "4.0.0_best_int")] as const;
  });
  let rejectBroken: (error: unknown) => void = () => {};
  const broken = new Promise<never>((_, reject) => {
    rejectBroken = reject;
  });
  broken.catch(() => {}); // It may fail while no job uses it; that must not be an unhandled rejection.
  const engine = { onProgress: (_fraction: number) => {} };
  const isRecognizing = "recognizing text";
  // The library has no error listener on its thread; without one an error would end this process.
  const watchThread = (thread: WorkerThread) => void thread.on("error", rejectBroken);
  process.once("worker", watchThread);
  const created = createWorker("eng", 1, {
    langPath,
    gzip: true,
    cacheMethod: "none",
    logger: ({ status, progress }) => {
      if (status === isRecognizing) engine.onProgress(progress);
    },
    // Without a handler the library throws where it can't be caught; a failed start never settles either way.
    errorHandler: rejectBroken,
  });
  const recognizer = await Promise.race([created, broken]).finally(() =>
    process.off("worker", watchThread),
  );
  return Object.assign(engine, { recognizer, broken });
}

function rejectOnAbort(signal: AbortSignal): { promise: Promise<never>; cancel: () => void } {
  let onAbort = () => {};
  const promise = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  promise.catch(() => {});
  return { promise, cancel: () => signal.removeEventListener("abort", onAbort) };
}

function describe(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^Error: /, "");
}
