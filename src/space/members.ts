import type { Refusal } from "../objects/reply.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { MemberAccess } from "../protocol/members.ts";
import type { SpaceCore } from "./space-core.ts";

const TOO_MANY_MEMBERS: Refusal = {
  ok: false,
  code: "limit_reached",
  detail: `A space may have ${LIMITS.members} members: remove some first.`,
};

/** Whose the space is, and who else may use or manage it. Every change takes effect on open sockets at once. */
export class SpaceMembers {
  private readonly core: SpaceCore;
  private readonly onChange: (now: number) => void;

  /** @param onChange takes what is open from those who may not have it any more */
  constructor(core: SpaceCore, onChange: (now: number) => void) {
    this.core = core;
    this.onChange = onChange;
  }

  /** The owner and the members, as JSON text. */
  list(): string {
    const { owner, members } = this.core.record;
    const list = [...members].map(([user, access]) => ({ user, access }));
    return JSON.stringify({ owner, members: list });
  }

  /** Must run inside a batch, like every change. */
  handOver(owner: string | null, now: number): void {
    const members = new Map(this.core.record.members);
    if (owner !== null && members.delete(owner)) this.core.spaces.removeMember(owner);
    this.core.record = { ...this.core.record, owner, members, updatedAt: now };
    this.core.spaces.write(this.core.record);
    this.onChange(now);
  }

  put(user: string, access: MemberAccess, now: number): Refusal | string {
    const { record, spaces } = this.core;
    if (user === record.owner) {
      return { ok: false, code: "invalid_request", detail: "The owner may do everything already." };
    }
    const isNew = !record.members.has(user);
    if (isNew && record.members.size >= LIMITS.members) return TOO_MANY_MEMBERS;
    spaces.putMember(user, access);
    this.core.record = { ...record, members: new Map(record.members).set(user, access) };
    this.onChange(now);
    return JSON.stringify({ user, access });
  }

  remove(user: string, now: number): Refusal | string {
    const { record, spaces } = this.core;
    const members = new Map(record.members);
    if (!members.delete(user)) {
      return { ok: false, code: "user_not_found", detail: "The space has no such member." };
    }
    spaces.removeMember(user);
    this.core.record = { ...record, members };
    this.onChange(now);
    return "";
  }
}
