import type { SpaceResource } from "../protocol/resources.ts";
import type { EdgeAccounts, Me } from "./account-api.ts";

type Space = Pick<SpaceResource, "visibility" | "owner" | "access">;

export function mayManage(space: Space, me: Me): boolean {
  return me !== null && (space.access === "manage" || me.role === "admin");
}

/** Whether a visitor may delete a space and hand it over. */
export function mayGiveAway(space: Space, me: Me): boolean {
  return me !== null && (space.owner === me.id || me.role === "admin");
}

export function mayMakeSpaces(me: Me, { space_creation: who }: EdgeAccounts): boolean {
  return me !== null && (me.role === "admin" || who === "members");
}

/** Why a visitor sees the space in the list, in a word or three. */
export function relationTo(space: Space, me: Me): string {
  if (me !== null && space.owner === me.id) return "yours";
  const isOpen = space.visibility === "public";
  // Admins may manage every space: that says nothing of whom it was shared with.
  if (me !== null && me.role !== "admin" && (space.access === "manage" || !isOpen)) {
    return "shared with you";
  }
  return isOpen ? "public" : "private";
}
