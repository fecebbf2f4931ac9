/** Counts since the worker was started. A job is counted as ended once the edge has acknowledged it. */
export interface Statistics {
  jobs: {
    received: number;
    completed: number;
    failed: number;
    canceled: number;
    /** Rejected, so that they went back to the queue. */
    rejected: number;
    /** Taken back by the edge, because they were too late or another worker has them. */
    stale: number;
    /** Held now: waiting, running, or finished and not yet acknowledged. */
    held: number;
  };
  reconnects: number;
  bytesIn: number;
  bytesOut: number;
  uptimeS: number;
  /** Time with at least one job running. */
  busyS: number;
}

/** The statistics of workers that ran one after the other. */
export function sumStatistics(all: readonly Statistics[]): Statistics {
  const sum = (pick: (statistics: Statistics) => number) =>
    all.reduce((total, statistics) => total + pick(statistics), 0);
  return {
    jobs: {
      received: sum(({ jobs }) => jobs.received),
      completed: sum(({ jobs }) => jobs.completed),
      failed: sum(({ jobs }) => jobs.failed),
      canceled: sum(({ jobs }) => jobs.canceled),
      rejected: sum(({ jobs }) => jobs.rejected),
      stale: sum(({ jobs }) => jobs.stale),
      held: sum(({ jobs }) => jobs.held),
    },
    reconnects: sum(({ reconnects }) => reconnects),
    bytesIn: sum(({ bytesIn }) => bytesIn),
    bytesOut: sum(({ bytesOut }) => bytesOut),
    uptimeS: sum(({ uptimeS }) => uptimeS),
    busyS: sum(({ busyS }) => busyS),
  };
}

/** Measures the time during which at least one handler is running. */
export class BusyClock {
  #active = 0;
  #since = 0;
  #totalMs = 0;

  enter(now: number): void {
    if (this.#active === 0) this.#since = now;
    this.#active += 1;
  }

  leave(now: number): void {
    this.#active -= 1;
    if (this.#active === 0) this.#totalMs += now - this.#since;
  }

  seconds(now: number): number {
    return (this.#totalMs + (this.#active > 0 ? now - this.#since : 0)) / 1_000;
  }
}

/** Formats statistics as two readable lines. */
export function describeStatistics(statistics: Statistics): string[] {
  const { jobs } = statistics;
  const counts = [
    `${jobs.received} received`,
    `${jobs.completed} completed`,
    `${jobs.failed} failed`,
    `${jobs.canceled} canceled`,
    `${jobs.rejected} rejected`,
    `${jobs.stale} stale`,
    ...(jobs.held > 0 ? [`${jobs.held} not acknowledged`] : []),
  ];
  const { uptimeS, busyS, reconnects, bytesIn, bytesOut } = statistics;
  return [
    `jobs: ${counts.join(", ")}`,
    `up ${uptimeS.toFixed(1)} s, busy ${busyS.toFixed(1)} s, reconnects ${reconnects}, ` +
      `${count(bytesIn)} bytes in, ${count(bytesOut)} bytes out`,
  ];
}

/** Formats a number with separators: 1048576 as 1,048,576. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}
