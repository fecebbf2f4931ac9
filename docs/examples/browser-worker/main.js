/**
 * A page that serves a space with a language model in this tab. To try it, in this folder:
 *
 *   npm install dialout wink-nlp wink-eng-lite-web-model esbuild
 *   npx esbuild main.js --bundle --format=esm --outfile=bundle.js --servedir=.
 */
import { JobFailure, RemoteWorker, tabWorkerId } from "dialout/worker/browser";
import model from "wink-eng-lite-web-model";
import winkNlp from "wink-nlp";

const nlp = winkNlp(model);
const { its } = nlp;

/** The model: streams the parts of speech of each sentence, and how it sounds. */
async function perform(job) {
  const { prompt, pause_ms: pauseMs = 0 } = job.input;
  if (typeof prompt !== "string") throw new JobFailure("worker_error", "A prompt is needed.");
  const sentences = nlp.readDoc(prompt).sentences();
  const lines = [];
  for (const sentence of itemsOf(sentences)) {
    const words = sentence.tokens().out();
    const parts = sentence.tokens().out(its.pos);
    lines.push(`${words.map((word, index) => `${word}/${parts[index]}`).join(" ")}\n`);
    job.output(lines.at(-1));
    job.progress((100 * lines.length) / sentences.length(), `Sentence ${lines.length}`);
    // Lets the page draw, and frames leave.
    await new Promise((resolve) => setTimeout(resolve, Number(pauseMs)));
    job.signal.throwIfAborted();
  }
  await job.file("words.txt", new Blob(lines), { contentType: "text/plain" });
  const sizes = [];
  for (const file of job.files) sizes.push((await file.download()).byteLength);
  return {
    sentences: lines.length,
    sentiment: nlp.readDoc(prompt).out(its.sentiment),
    files: sizes,
  };
}

function itemsOf(collection) {
  return Array.from({ length: collection.length() }, (_, index) => collection.itemAt(index));
}

const form = document.getElementById("settings");
const shown = document.getElementById("state");
const drain = document.getElementById("drain");
/** Kept with this tab, so that it serves again after a reload. The token is a secret: it ends with the tab. */
const KEPT = "browser-worker-settings";

async function serve({ url, space, token }) {
  const worker = new RemoteWorker({
    url,
    space,
    token,
    workerId: await tabWorkerId(space),
    name: "A tab",
    waitForPlace: true,
    handler: perform,
    onState: showState,
    log: { debug() {}, info: note, warn: note, error: note },
  });
  drain.disabled = false;
  drain.onclick = () => {
    sessionStorage.removeItem(KEPT);
    worker.drain("the tab was told to stop");
  };
  // What is wrong is in the state.
  await worker.run().catch(() => {});
  drain.disabled = true;
}

function showState(state) {
  shown.dataset.phase = state.phase;
  if (state.phase === "ended") {
    shown.dataset.phase = state.refusal?.code ?? "drained";
    shown.textContent = state.refusal?.message ?? "drained";
  } else if (state.phase === "connecting") {
    shown.textContent = `connecting${state.why === null ? "" : `: ${state.why}`}`;
  } else shown.textContent = `${state.phase}, jobs: ${state.jobs}`;
}

function note(line) {
  const item = document.createElement("li");
  item.textContent = line;
  const log = document.getElementById("log");
  log.prepend(item);
  while (log.children.length > 50) log.lastChild.remove();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const settings = Object.fromEntries(new FormData(form));
  sessionStorage.setItem(KEPT, JSON.stringify(settings));
  void serve(settings);
});

const kept = sessionStorage.getItem(KEPT);
if (kept !== null) {
  const settings = JSON.parse(kept);
  for (const [name, value] of Object.entries(settings)) form.elements[name].value = value;
  void serve(settings);
}
