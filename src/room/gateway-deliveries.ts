import type { DeliveryAnswer, Relayed, RoomDelivery } from "./calls.ts";

/** What one gateway has yet to be sent. */
interface Backlog {
  events: Relayed[];
  presence: string[];
  characters: number;
  /** Another call is needed, if only to announce the last offset, up to which the gateway then reads the log. */
  isCallDue: boolean;
  isSending: boolean;
  /** Number of the gateway's latest join. An answer to a call that was made before it is out of date. */
  join: number;
  /** How many subscribers the gateway had by its latest answer. */
  subscribers: number;
}

type DeliveryContent = Pick<RoomDelivery, "events" | "presence">;
type DeliverToGateway = (gateway: string, content: DeliveryContent) => Promise<DeliveryAnswer>;

/**
 * A call carries 32 MiB at most. If more than this waits for a gateway, it is dropped; the gateway reads it
 * from the log instead.
 */
const MAX_CHARACTERS = 8_388_608;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 30_000;

/**
 * Calls gateways with a room's events, each gateway in order and one call at a time: what is published
 * while a call is under way goes out together with the next one (decision 0021).
 */
export class GatewayDeliveries {
  private readonly backlogs = new Map<string, Backlog>();
  private joins = 0;
  private readonly deliver: DeliverToGateway;
  private readonly onEmpty: (gateway: string) => void;

  /** @param onEmpty called with the name of a gateway that has no subscribers of the room any more */
  constructor(deliver: DeliverToGateway, onEmpty: (gateway: string) => void) {
    this.deliver = deliver;
    this.onEmpty = onEmpty;
  }

  /** Subscribers over all gateways, by their latest answers. */
  get subscribers(): number {
    let total = 0;
    for (const { subscribers } of this.backlogs.values()) total += subscribers;
    return total;
  }

  /** The gateway has joined, perhaps again: answers to earlier calls are out of date. */
  noteJoin(gateway: string): void {
    this.joins += 1;
    this.of(gateway).join = this.joins;
  }

  /** Number of the gateway's latest join, by which an answer from before it is recognised; 0: none yet. */
  joinOf(gateway: string): number {
    return this.backlogs.get(gateway)?.join ?? 0;
  }

  forget(gateway: string): void {
    this.backlogs.delete(gateway);
  }

  send(gateways: readonly string[], events: readonly Relayed[], presence: readonly string[]): void {
    for (const gateway of gateways) {
      const backlog = this.of(gateway);
      backlog.isCallDue = true;
      backlog.events.push(...events);
      backlog.presence.push(...presence);
      for (const { text } of events) backlog.characters += text.length;
      for (const text of presence) backlog.characters += text.length;
      if (backlog.characters > MAX_CHARACTERS) clear(backlog);
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
      isCallDue: false,
      isSending: false,
      join: 0,
      subscribers: 0,
    };
    this.backlogs.set(gateway, made);
    return made;
  }

  /**
   * Calls the gateway until nothing is left for it. Events of a call that failed are not sent again: the
   * next call announces the last offset, and the gateway reads what it misses from the log.
   */
  private async drain(gateway: string, backlog: Backlog): Promise<void> {
    backlog.isSending = true;
    let retryMs = FIRST_RETRY_MS;
    while (backlog.isCallDue && this.backlogs.get(gateway) === backlog) {
      const { events, presence, join } = backlog;
      clear(backlog);
      backlog.isCallDue = false;
      try {
        const { subscribers } = await this.deliver(gateway, { events, presence });
        backlog.subscribers = subscribers;
        retryMs = FIRST_RETRY_MS;
        if (subscribers === 0 && backlog.join === join) this.onEmpty(gateway);
      } catch (error) {
        console.error("a delivery to a gateway failed", error);
        backlog.isCallDue = true;
        await scheduler.wait(retryMs);
        retryMs = Math.min(MAX_RETRY_MS, retryMs * 2);
      }
    }
    backlog.isSending = false;
  }
}

function clear(backlog: Backlog): void {
  backlog.events = [];
  backlog.presence = [];
  backlog.characters = 0;
}
