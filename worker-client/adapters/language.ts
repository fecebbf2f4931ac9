import type { Detail, ItemSentence } from "wink-nlp";
import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import type { Job } from "../job.ts";
import { pause } from "../pause.ts";
import { loadOptional } from "./optional-package.ts";

const PACKAGES = ["wink-nlp", "wink-eng-lite-web-model"];
/** The most that all pauses of a job may add up to, so that a long text doesn't run into its deadline. */
const MAX_PACING_MS = 10_000;
/** The summary must fit into one frame, so its list is bounded; the streamed output has all entities. */
const MAX_LISTED_ENTITIES = 500;

interface NamedEntity {
  value: string;
  type: string;
}

interface AnalysedToken {
  value: string;
  partOfSpeech: string;
}

interface AnalysedSentence {
  text: string;
  tokens: AnalysedToken[];
  entities: NamedEntity[];
  sentiment: number;
}

interface Analysis {
  sentences: AnalysedSentence[];
  sentiment: number;
}

type Analyse = (text: string) => Analysis;

async function loadModel(): Promise<Analyse> {
  const [{ default: winkNlp }, { default: model }] = await loadOptional(PACKAGES, () =>
    Promise.all([import("wink-nlp"), import("wink-eng-lite-web-model")]),
  );
  const nlp = winkNlp(model);
  const { its } = nlp;
  return (text) => {
    const document = nlp.readDoc(text);
    const sentences: AnalysedSentence[] = [];
    document.sentences().each((sentence: ItemSentence) => {
      const values = sentence.tokens().out();
      const parts = sentence.tokens().out(its.pos);
      // The package's types don't say which kind of value `out` returns.
      const entities = sentence.entities().out(its.detail) as Detail[];
      sentences.push({
        text: sentence.out(),
        tokens: values
          .map((value, index) => ({ value, partOfSpeech: parts[index] ?? "X" }))
          .filter(({ partOfSpeech }) => partOfSpeech !== "SPACE"),
        entities: entities.map(({ value, type }) => ({ value, type })),
        sentiment: Number(sentence.out(its.sentiment)),
      });
    });
    return { sentences, sentiment: Number(document.out(its.sentiment)) };
  };
}

/** Analyses English text: parts of speech, entities and sentiment, streamed sentence by sentence. */
export class LanguageAnalysis {
  readonly #paceMs: number;
  #model: Promise<Analyse> | null = null;

  /** @param paceMs pause after each sentence, milliseconds, so that people can follow; the analysis needs none */
  constructor(paceMs: number) {
    this.#paceMs = paceMs;
  }

  async run(job: Job, text: string): Promise<JsonObject> {
    job.progress(0, "Loading the language model");
    this.#model ??= loadModel();
    const analyse = await this.#model;
    const analysis = analyse(text);
    const { sentences } = analysis;
    const paceMs = Math.min(this.#paceMs, MAX_PACING_MS / Math.max(1, sentences.length));
    for (const [index, sentence] of sentences.entries()) {
      for (const line of describeSentence(sentence, index + 1)) job.output(line);
      const done = Math.round(((index + 1) / sentences.length) * 100);
      job.progress(done, `Sentence ${index + 1} of ${sentences.length}`);
      // Also lets the event loop run; otherwise all frames would be sent at the end.
      await pause(paceMs, job.signal);
    }
    return summarize(analysis);
  }
}

function describeSentence(sentence: AnalysedSentence, number: number): string[] {
  const tokens = sentence.tokens.map(({ value, partOfSpeech }) => `${value}/${partOfSpeech}`);
  const entities = sentence.entities.map(({ value, type }) => `${value} (${type})`);
  return [
    `${number}. ${sentence.text.trim()}\n`,
    `   words: ${tokens.join(" ")}\n`,
    ...(entities.length > 0 ? [`   entities: ${entities.join(", ")}\n`] : []),
    `   sentiment: ${describeSentiment(sentence.sentiment)}\n`,
  ];
}

function describeSentiment(sentiment: number): string {
  const mood = sentiment > 0.1 ? "positive" : sentiment < -0.1 ? "negative" : "neutral";
  return `${mood} (${sentiment.toFixed(2)})`;
}

/** Returns the distinct proper names; neighbouring proper nouns are joined to one name. */
function properNames(tokens: AnalysedToken[]): string[] {
  const names: string[][] = [];
  let open = false;
  for (const { value, partOfSpeech } of tokens) {
    const isName = partOfSpeech === "PROPN";
    if (isName && open) names.at(-1)?.push(value);
    else if (isName) names.push([value]);
    open = isName;
  }
  return [...new Set(names.map((words) => words.join(" ")))].slice(0, MAX_LISTED_ENTITIES);
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function summarize({ sentences, sentiment }: Analysis): JsonObject {
  const tokens = sentences.flatMap((sentence) => sentence.tokens);
  const entities = sentences.flatMap((sentence) => sentence.entities);
  const partsOfSpeech: { [part: string]: Json } = {};
  for (const { partOfSpeech } of tokens) {
    partsOfSpeech[partOfSpeech] = Number(partsOfSpeech[partOfSpeech] ?? 0) + 1;
  }
  const mood = describeSentiment(sentiment);
  const names = properNames(tokens);
  const found = names.length > 0 ? ` Names: ${names.join(", ")}.` : "";
  return {
    text: `${count(sentences.length, "sentence")}, ${count(tokens.length, "word")}, ${mood}.${found}`,
    sentences: sentences.length,
    tokens: tokens.length,
    entities: entities.slice(0, MAX_LISTED_ENTITIES).map(({ value, type }) => ({ value, type })),
    parts_of_speech: partsOfSpeech,
    sentiment: Number(sentiment.toFixed(3)),
    mood,
  };
}
