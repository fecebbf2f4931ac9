import { useEffect, useReducer } from "preact/hooks";
import type { FileUploads, ShownUpload } from "./file-uploads.ts";
import { formatBytes } from "./wording.ts";

/** The large files of the submit that is being sent: how far each is, with a button to pause it. */
export function UploadProgress({ uploads }: { uploads: FileUploads }) {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => uploads.subscribe(() => redraw(undefined)), [uploads]);
  if (uploads.shown.length === 0) return null;
  return (
    <ul class="uploads" aria-label="Files on their way">
      {uploads.shown.map((upload) => (
        <UploadLine key={upload.id} upload={upload} uploads={uploads} />
      ))}
    </ul>
  );
}

function UploadLine({ upload, uploads }: { upload: ShownUpload; uploads: FileUploads }) {
  const { id, name, sent, size, state, trouble } = upload;
  const percent = size === 0 ? 100 : Math.floor((sent / size) * 100);
  const isPaused = state === "paused";
  return (
    <li data-testid="upload" data-state={state}>
      <div class="progress-line">
        <span class="upload-name">{name}</span>
        <div
          class="progress"
          role="progressbar"
          aria-label={`Upload of ${name}`}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={percent}
          data-testid="upload-progress"
        >
          <div class="progress-done" style={{ width: `${percent}%` }} />
        </div>
        <span class="quiet percent" aria-hidden="true">
          {percent}%
        </span>
        {state !== "done" && (
          <button
            type="button"
            class="plain"
            data-testid="upload-pause"
            onClick={() => (isPaused ? uploads.resume(id) : uploads.pause(id))}
          >
            {isPaused ? "Go on" : "Pause"}
            <span class="hidden"> {name}</span>
          </button>
        )}
      </div>
      <p class="quiet small">
        {formatBytes(sent)} of {formatBytes(size)}
        {isPaused && ", paused"}
        {trouble !== null && !isPaused && `: ${trouble} It goes on by itself.`}
      </p>
    </li>
  );
}
