import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** What a way through the network does to the bytes. */
export interface Conditions {
  /** How long each piece is under way, milliseconds. */
  latencyMs: number;
  /** Bytes a second in each direction, for all connections together; `Infinity`: as fast as they come. */
  bytesPerS: number;
  /**
   * What becomes of a new connection: it leads to the edge; it is reset; it is taken, but nothing ever comes back;
   * or somebody else answers it with this text, to every request again.
   */
  dials: "pass" | "reset" | "hang" | { answer: string };
}

const CLEAR: Conditions = {
  latencyMs: 0,
  bytesPerS: Number.POSITIVE_INFINITY,
  dials: "pass",
};
/** How often a limited rate lets bytes through, milliseconds. */
const SLICE_MS = 20;

/**
 * A network between programs and an edge that tests control: a slow one, one whose connections break or fall silent,
 * and one in which somebody else answers.
 */
export class Network {
  readonly url: string;
  /** Connections that programs have opened so far. */
  dials = 0;
  private readonly server: Server;
  private readonly edge: URL;
  private readonly ways = new Set<Way>();
  private conditions = CLEAR;
  private replaced: { from: Buffer; to: Buffer } | null = null;

  private constructor(server: Server, edge: URL) {
    this.server = server;
    this.edge = edge;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (client) => this.onDial(client));
  }

  static async start(edgeUrl: string): Promise<Network> {
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Network(server, new URL(edgeUrl));
  }

  /** Sets the conditions from now on, also for connections that are open; what isn't named is as in a good network. */
  set(conditions: Partial<Conditions> = {}): void {
    this.conditions = { ...CLEAR, ...conditions };
  }

  /**
   * Replaces a text in what the edge sends by another one of the same length, such as a limit by a shorter one. It must
   * not be split over two pieces, which texts at the beginning of a small message are not.
   */
  replace(from: string, to: string): void {
    if (from.length !== to.length) throw new Error(`"${from}" and "${to}" differ in length`);
    this.replaced = { from: Buffer.from(from), to: Buffer.from(to) };
  }

  /** Resets every open connection, as a router does that has forgotten them. */
  reset(): void {
    for (const way of this.ways) way.reset();
  }

  /** From now on nothing passes over the connections that are open, and nobody is told: each side takes them for alive. */
  freeze(): void {
    for (const way of this.ways) way.isFrozen = true;
  }

  get open(): number {
    return this.ways.size;
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private dialEdge(): Socket {
    return connect({
      port: Number(this.edge.port),
      host: this.edge.hostname,
      allowHalfOpen: true,
    });
  }

  private onDial(client: Socket): void {
    this.dials += 1;
    const { dials } = this.conditions;
    if (dials === "reset") {
      client.resetAndDestroy();
      return;
    }
    const way =
      dials === "pass"
        ? new Way(client, this.dialEdge(), () => this.conditions)
        : new Way(client, null, () => this.conditions);
    this.ways.add(way);
    way.onEnd(() => this.ways.delete(way));
    way.replaced = this.replaced;
    if (typeof dials === "object") answerAlways(client, dials.answer);
  }
}

/** One connection of a program, and the one to the edge that belongs to it. */
class Way {
  isFrozen = false;
  replaced: { from: Buffer; to: Buffer } | null = null;
  private readonly sockets: Socket[];

  constructor(client: Socket, edge: Socket | null, conditions: () => Conditions) {
    this.sockets = edge === null ? [client] : [client, edge];
    for (const socket of this.sockets) {
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
    }
    if (edge === null) return;
    this.carry(client, edge, conditions);
    this.carry(edge, client, conditions);
  }

  reset(): void {
    for (const socket of this.sockets) if (!socket.destroyed) socket.resetAndDestroy();
  }

  onEnd(handle: () => void): void {
    for (const socket of this.sockets) {
      socket.once("close", (hadError) => {
        // On a frozen way neither side learns that the other one is gone. Otherwise a regular end is passed on like data.
        if (hadError && !this.isFrozen) this.reset();
        if (this.sockets.every(({ destroyed }) => destroyed)) handle();
      });
    }
  }

  private carry(from: Socket, to: Socket, conditions: () => Conditions): void {
    const pieces: { bytes: Buffer | null; at: number }[] = [];
    let timer: NodeJS.Timeout | undefined;
    const pump = () => {
      timer = undefined;
      const { bytesPerS } = conditions();
      let room = Math.max(1, (bytesPerS * SLICE_MS) / 1_000);
      while (pieces[0] !== undefined && !this.isFrozen && !to.destroyed) {
        const [piece] = pieces;
        const wait = piece.at - Date.now();
        if (wait > 0 || room < 1) {
          timer = setTimeout(pump, Math.max(wait, room < 1 ? SLICE_MS : 0));
          return;
        }
        if (piece.bytes === null) {
          pieces.shift();
          to.end();
          continue;
        }
        const part = piece.bytes.subarray(0, Math.min(piece.bytes.length, Math.floor(room)));
        room -= part.length;
        to.write(part);
        if (part.length === piece.bytes.length) pieces.shift();
        else piece.bytes = piece.bytes.subarray(part.length);
      }
      // Read on only when this has passed: otherwise a slow network would hold everything in memory.
      if (!this.isFrozen) from.resume();
    };
    const take = (bytes: Buffer | null) => {
      if (this.isFrozen) return;
      const at = bytes !== null && this.replaced !== null ? bytes.indexOf(this.replaced.from) : -1;
      if (at >= 0) this.replaced?.to.copy(bytes ?? Buffer.alloc(0), at);
      pieces.push({ bytes, at: Date.now() + conditions().latencyMs });
      if (Number.isFinite(conditions().bytesPerS)) from.pause();
      if (timer === undefined) pump();
    };
    from.on("data", take);
    from.once("end", () => take(null));
    to.once("close", () => clearTimeout(timer));
  }
}

/** Answers every request on the connection with the same text, whatever it asks for. */
function answerAlways(client: Socket, answer: string): void {
  let head = "";
  client.on("data", (bytes) => {
    head += bytes.toString("latin1");
    if (!head.includes("\r\n\r\n")) return;
    head = "";
    client.end(answer);
  });
}

/** An answer of somebody else than the edge, as it stands on the wire. */
export function foreignAnswer(status: string, headers: Record<string, string> = {}): string {
  const body = "<!doctype html><title>Log in</title><p>Log in to use this network.</p>";
  const all = { "content-type": "text/html", connection: "close", ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  const length = `content-length: ${Buffer.byteLength(body)}`;
  return [`HTTP/1.1 ${status}`, ...lines, length, "", body].join("\r\n");
}
