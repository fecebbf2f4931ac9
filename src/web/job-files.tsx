import { useEffect, useState } from "preact/hooks";
import type { OutputFile } from "../protocol/output-files.ts";
import { fileKind, shownText, TEXT_BYTES } from "./file-kind.ts";
import type { TabJob } from "./job-state.ts";
import type { PageSession } from "./page-session.ts";
import { formatBytes } from "./wording.ts";

interface JobFilesProps {
  job: TabJob;
  session: PageSession;
}

/** The job's output files, and the newest preview while it runs. */
export function JobFiles({ job, session }: JobFilesProps) {
  const { outputs, preview } = job;
  if (outputs.length === 0 && preview === null) return null;
  // An address has expired, for example while the page was in the background for hours.
  const onFailure = () => void session.renewFiles(job.id);
  return (
    <section class="files" aria-label="Files">
      <p class="caption">{outputs.length === 0 ? "Preview" : "Files"}</p>
      {preview !== null && (
        <figure class="file preview" data-testid="job-preview">
          <FileView file={preview} onFailure={() => undefined} />
          {outputs.length > 0 && <figcaption class="quiet small">Preview</figcaption>}
        </figure>
      )}
      {outputs.map((file) => (
        <figure key={file.name} class="file" data-testid="job-file" data-name={file.name}>
          <FileView file={file} onFailure={onFailure} />
          <figcaption>
            <span class="file-name">{file.name}</span>{" "}
            <span class="quiet small">{formatBytes(file.size)}</span>{" "}
            <a href={file.url} download={file.name} aria-label={`Download ${file.name}`}>
              Download
            </a>
          </figcaption>
        </figure>
      ))}
    </section>
  );
}

/** What a browser can show of a file. The edge has found its type out from its bytes. */
function FileView({ file, onFailure }: { file: OutputFile; onFailure: () => void }) {
  const { name, url } = file;
  switch (fileKind(file)) {
    case "image":
      return <img class="result-image" src={url} alt={name} onError={onFailure} />;
    case "audio":
      // biome-ignore lint/a11y/useMediaCaption: the edge has no captions for what a model makes.
      return <audio controls preload="metadata" src={url} aria-label={name} onError={onFailure} />;
    case "video":
      return (
        // biome-ignore lint/a11y/useMediaCaption: the edge has no captions for what a model makes.
        <video
          class="result-image"
          controls
          preload="metadata"
          src={url}
          aria-label={name}
          onError={onFailure}
        />
      );
    case "text":
      return <TextFile file={file} onFailure={onFailure} />;
    default:
      return null;
  }
}

function TextFile({ file, onFailure }: { file: OutputFile; onFailure: () => void }) {
  const [text, setText] = useState<string | null>(null);
  const { url } = file;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another address leads to the same file.
  useEffect(() => {
    const stop = new AbortController();
    const read = async () => {
      const headers = { range: `bytes=0-${TEXT_BYTES - 1}` };
      const answer = await fetch(url, { headers, signal: stop.signal });
      if (answer.ok) setText(shownText(await answer.text(), file.size));
      else onFailure();
    };
    // Without it the file can still be downloaded.
    void read().catch(() => undefined);
    return () => stop.abort();
  }, [file.sha256]);
  if (text === null) return null;
  return (
    <section aria-label={file.name}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard. */}
      <pre tabIndex={0}>{text}</pre>
    </section>
  );
}
