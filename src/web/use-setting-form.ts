import { useRef, useState } from "preact/hooks";
import type { DialoutError } from "../client/errors.ts";
import {
  type Draft,
  draftOf,
  type Problems,
  problemOf,
  problemsOf,
  rebase,
  type Settings,
  sentence,
} from "./setting-form.ts";

export interface Followed {
  changed: string[];
  /** Those of them that were edited here as well. */
  conflicts: string[];
}

export interface SettingForm {
  draft: Draft;
  /** What the fields say is wrong: once they were typed in, and all of them once the form was sent. */
  problems: Problems;
  set(name: string, held: string | boolean): void;
  /** Shows what is wrong with every field; returns whether nothing is. */
  check(): boolean;
  /** Shows what the edge refused beside the fields that it names. */
  refuse(error: DialoutError): void;
  /** Takes over what somebody else has changed; returns what that was. */
  follow(base: Settings, fresh: Settings): Followed;
}

/** The fields of a form for settings: what they hold and what is wrong with it. */
export function useSettingForm(settings: Settings): SettingForm {
  const [draft, setDraft] = useState<Draft>(() => draftOf(settings));
  const [problems, setProblems] = useState<Problems>({});
  // For what goes on after a call, during which somebody may have typed.
  const latest = useRef(draft);
  latest.current = draft;
  return {
    draft,
    problems,
    set(name, held) {
      setDraft((before) => ({ ...before, [name]: held }));
      setProblems((before) => withProblem(before, name, problemOf(name, held)));
    },
    check() {
      const found = problemsOf(draft);
      setProblems(found);
      return Object.keys(found).length === 0;
    },
    refuse({ errors }) {
      const named = errors.filter(({ path }) => path in draft);
      setProblems(Object.fromEntries(named.map(({ path, message }) => [path, sentence(message)])));
    },
    follow(base, fresh) {
      const { draft: next, ...what } = rebase(base, latest.current, fresh);
      setDraft(next);
      return what;
    },
  };
}

function withProblem(before: Problems, name: string, problem: string | null): Problems {
  const { [name]: _, ...others } = before;
  return problem === null ? others : { ...others, [name]: problem };
}
