import { credentialOf } from "../auth/credential.ts";
import { jobReaderOf, mayPublish, maySubscribe } from "../auth/principal.ts";
import { expiryOf, type SessionPrincipal } from "../auth/session.ts";
import { throttledAs } from "../channel/throttle.ts";
import { countedPrincipal } from "../objects/allowances.ts";
import type { SocketRequestOf } from "../objects/socket-request.ts";
import type { BackendJobAttachment } from "./backend-job-sockets.ts";
import type { Rights } from "./calls.ts";

/** The attachment of a new socket of a job. */
export function attachmentFor(
  id: string,
  request: SocketRequestOf<"backend-job">,
  now: number,
): BackendJobAttachment {
  const { pingS, maxRate, acks, relayed, address, principal } = request;
  const everyMs = pingS === null ? 0 : pingS * 1_000;
  return {
    id: crypto.randomUUID(),
    ...rightsOf(id, principal),
    credential: credentialOf(principal),
    openedAt: now,
    pending: null,
    ping: pingS === null ? null : { everyMs, at: now + everyMs },
    heardAt: now,
    pingedAt: 0,
    throttled: throttledAs(maxRate, acks),
    malformed: 0,
    relayed,
    address,
    counted: principal && countedPrincipal(principal),
  };
}

export function mayReport(id: string, principal: SessionPrincipal | null): boolean {
  return rightsOf(id, principal).publish;
}

function rightsOf(id: string, principal: SessionPrincipal | null): Rights {
  if (!principal) return { publish: false, read: false, expiresAt: null };
  const address = `job:${id}`;
  return {
    publish: mayPublish(principal, address),
    read: maySubscribe(principal, address),
    user: jobReaderOf(principal),
    expiresAt: expiryOf(principal),
  };
}
