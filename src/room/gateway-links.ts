import type { Delivered, Delivery, Relayed } from "./calls.ts";

/** What one gateway is still to be told. */
interface Backlog {
  events: Relayed[];
  presence: string[];
  characters: number;
  isSending: boolean;
  /** Which join was its latest: an answer to what was sent before it knows nothing of it. */
  joins: number;
}

type Deliver = (gateway: string, delivery: Omit<Delivery, "room" | "epoch">) => Promise<Delivered>;

/** A call carries 32 MiB. What a gateway is not told it reads from the log. */
const MOST_CHARACTERS = 8_388_608;
const ATTEMPTS = 4;
const FIRST_RETRY_MS = 50;

/** Tells gateways, each in order: what comes while one is told goes out together with the next call. */
export class GatewayLinks {
  private readonly backlogs = new Map<string, Backlog>();
  private joins = 0;
  private readonly deliver: Deliver;
  private readonly isLeft: (gateway: string) => void;

  /** `isLeft` is told of a gateway that has no subscriber of the room any more. */
  constructor(deliver: Deliver, isLeft: (gateway: string) => void) {
    this.deliver = deliver;
    this.isLeft = isLeft;
  }

  joined(gateway: string): void {
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

  tell(gateways: readonly string[], events: readonly Relayed[], presence: readonly string[]): void {
    for (const gateway of gateways) {
      const backlog = this.of(gateway);
      backlog.events.push(...events);
      backlog.presence.push(...presence);
      for (const { text } of events) backlog.characters += text.length;
      for (const text of presence) backlog.characters += text.length;
      if (backlog.characters > MOST_CHARACTERS) {
        // The next event shows the gateway that it lacks these.
        Object.assign(backlog, { events: [], presence: [], characters: 0 });
      }
      if (!backlog.isSending) void this.send(gateway, backlog);
    }
  }

  private of(gateway: string): Backlog {
    const known = this.backlogs.get(gateway);
    if (known) return known;
    const made = { events: [], presence: [], characters: 0, isSending: false, joins: 0 };
    this.backlogs.set(gateway, made);
    return made;
  }

  private async send(gateway: string, backlog: Backlog): Promise<void> {
    backlog.isSending = true;
    do {
      const { events, presence, joins } = backlog;
      Object.assign(backlog, { events: [], presence: [], characters: 0 });
      const delivered = await this.try(gateway, { events, presence });
      if (delivered?.subscribers === 0 && backlog.joins === joins) {
        this.isLeft(gateway);
        break;
      }
    } while (backlog.events.length + backlog.presence.length > 0);
    backlog.isSending = false;
  }

  private async try(
    gateway: string,
    delivery: Omit<Delivery, "room" | "epoch">,
  ): Promise<Delivered | null> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      try {
        return await this.deliver(gateway, delivery);
      } catch (error) {
        if (attempt === ATTEMPTS) console.error("a gateway could not be told", error);
        else await scheduler.wait(FIRST_RETRY_MS * 2 ** attempt);
      }
    }
    return null;
  }
}
