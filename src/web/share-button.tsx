import { useState } from "preact/hooks";
import { z } from "zod";
import { type CallResult, call } from "./api.ts";
import { CopyButton } from "./copy-button.tsx";

const link = z.object({ url: z.string() });

/** Makes the link by which anybody sees a job, shows it, and withdraws it. A job has one link at a time. */
export function ShareButton({ id }: { id: string }) {
  const [url, setUrl] = useState<string | null>(null);
  const [note, setNote] = useState<string | null>(null);
  const path = `/api/jobs/${encodeURIComponent(id)}/share`;
  const settle = <T,>(answer: CallResult<T>, then: (value: T) => void) => {
    if (answer.ok) then(answer.value);
    else setNote(answer.error.message);
  };
  const make = async () => {
    setNote(null);
    settle(await call({ method: "POST", path }, link), (made) => setUrl(made.url));
  };
  const withdraw = async () =>
    settle(await call({ method: "DELETE", path }, z.null()), () => {
      setUrl(null);
      setNote("The link is withdrawn: it opens nothing any more.");
    });
  return (
    <div class="share">
      {url === null ? (
        <button type="button" class="plain" data-testid="job-share" onClick={() => void make()}>
          Share by a link
        </button>
      ) : (
        <>
          <p class="small share-line">
            Whoever has this link sees this job, and nothing else. It is not shown again:{" "}
            <code class="share-link" data-testid="job-link">
              {url}
            </code>
          </p>
          <p class="buttons share-line">
            <CopyButton text={() => url} />
            <button type="button" onClick={() => void withdraw()}>
              Withdraw
            </button>
          </p>
        </>
      )}
      <p class="quiet small share-line" role="status">
        {note}
      </p>
    </div>
  );
}
