import type { Delivered, Delivery, Relayed } from "./calls.ts";

/** What one gateway is still to be told. */
interface Backlog {
  events: Relayed[];
  presence: string[];
  characters: number;
  /** It lacks something, if only the news of what it has to read. */
  isOwed: boolean;
  isSending: boolean;
  /** Which join was its latest: an answer to what was sent before it knows nothing of it. */
  joins: number;
  subscribers: number;
}

type DeliveryContent = Pick<Delivery, "events" | "presence">;
type Deliver = (gateway: string, told: DeliveryContent) => Promise<Delivered>;

/** A call carries 32 MiB. What a gateway is not told it reads from the log. */
const MOST_CHARACTERS = 8_388_608;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 30_000;

/** Tells gateways, each in order: what comes while one is told goes out together with the next call. */
export class GatewayDeliveries {
  private readonly backlogs = new Map<string, Backlog>();
  private joins = 0;
  private readonly deliver: Deliver;
  private readonly onEmpty: (gateway: string) => void;

  /** `isLeft` is told of a gateway that has no subscriber of the room any more. */
  constructor(deliver: Deliver, isLeft: (gateway: string) => void) {
    this.deliver = deliver;
    this.onEmpty = isLeft;
  }

  /** Subscribers over all gateways, as they last said. */
  get audience(): number {
    let audience = 0;
    for (const { subscribers } of this.backlogs.values()) audience += subscribers;
    return audience;
  }

  noteJoin(gateway: string): void {
    this.joins += 1;
    this.of(gateway).joins = this.joins;
  }

  /** Tells one join of the gateway from the next: what it said before it joined is old. */
  joinOf(gateway: string): number {
    return this.backlogs.get(gateway)?.joins ?? 0;
  }

  forget(gateway: string): void {
    this.backlogs.delete(gateway);
  }

  send(gateways: readonly string[], events: readonly Relayed[], presence: readonly string[]): void {
    for (const gateway of gateways) {
      const backlog = this.of(gateway);
      backlog.isOwed = true;
      backlog.events.push(...events);
      backlog.presence.push(...presence);
      for (const { text } of events) backlog.characters += text.length;
      for (const text of presence) backlog.characters += text.length;
      if (backlog.characters > MOST_CHARACTERS) empty(backlog);
      if (!backlog.isSending) void this.drain(gateway, backlog);
    }
  }

  private of(gateway: string): Backlog {
    const known = this.backlogs.get(gateway);
    if (known) return known;
    const made: Backlog = {
      events: [],
      presence: [],
      characters: 0,
      isOwed: false,
      isSending: false,
      joins: 0,
      subscribers: 0,
    };
    this.backlogs.set(gateway, made);
    return made;
  }

  /** What can't be told is not kept: the gateway reads it once it can be told that it is there. */
  private async drain(gateway: string, backlog: Backlog): Promise<void> {
    backlog.isSending = true;
    let retryMs = FIRST_RETRY_MS;
    while (backlog.isOwed && this.backlogs.get(gateway) === backlog) {
      const { events, presence, joins } = backlog;
      empty(backlog);
      backlog.isOwed = false;
      try {
        const { subscribers } = await this.deliver(gateway, { events, presence });
        backlog.subscribers = subscribers;
        retryMs = FIRST_RETRY_MS;
        if (subscribers === 0 && backlog.joins === joins) this.onEmpty(gateway);
      } catch (error) {
        console.error("a gateway could not be told", error);
        backlog.isOwed = true;
        await scheduler.wait(retryMs);
        retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2);
      }
    }
    backlog.isSending = false;
  }
}

function empty(backlog: Backlog): void {
  backlog.events = [];
  backlog.presence = [];
  backlog.characters = 0;
}
