/** Many who follow one room. */
import { Audience, type Gathering, type Span } from "../clients/audience.ts";
import { answerCalls } from "./child.ts";

const audience = new Audience();

const calls = {
  /** Resolves once all have joined, with how long each took to connect. */
  gather: (gathering: Gathering): Promise<number[]> => audience.gather(gathering),
  watch: (span: Span): void => audience.watch(span),
  delivered: (number: number): Promise<number> => audience.delivered(number),
  arrivals: (number: number): Promise<number[]> => audience.arrivals(number),
};
export type SubscribersCalls = typeof calls;

answerCalls(calls);
