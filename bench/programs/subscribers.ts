/** Runs many subscribers of one room. */
import {
  type NewSubscribers,
  SubscriberGroup,
  type TimeSpan,
} from "../clients/subscriber-group.ts";
import { answerCalls } from "./child.ts";

const group = new SubscriberGroup();

const calls = {
  /** Resolves once all have joined, with the milliseconds each took to connect. */
  addSubscribers: (added: NewSubscribers): Promise<number[]> => group.addSubscribers(added),
  countDeliveries: (span: TimeSpan): void => group.countDeliveries(span),
  getDeliveries: (number: number): Promise<number> => group.getDeliveries(number),
  getArrivals: (number: number): Promise<number[]> => group.getArrivals(number),
};
export type SubscribersCalls = typeof calls;

answerCalls(calls);
