import { useEffect, useRef, useState } from "preact/hooks";
import { checkFiles, type FileField } from "./draft.ts";
import { formatBytes } from "./wording.ts";

interface FileInputProps {
  field: FileField;
  file: File | null;
  onChoose: (file: File | null) => void;
}

const LABELS: Record<FileField, string> = { file: "File", audio: "Audio", video: "Video" };
const ACCEPTS: Record<FileField, string | undefined> = {
  file: undefined,
  audio: "audio/*",
  video: "video/*",
};

/** Lets the user choose one file, and shows its name, size and, for an image, a preview. */
export function FileInput({ field, file, onChoose }: FileInputProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Scripts can clear a file input, but not set its file.
    if (file === null && input.current !== null) input.current.value = "";
  }, [file]);
  const problem = file === null ? null : checkFiles([{ field, name: file.name, size: file.size }]);
  return (
    <div class="field">
      <label for={field}>{LABELS[field]}</label>
      <input
        ref={input}
        id={field}
        data-testid={field}
        type="file"
        accept={ACCEPTS[field]}
        aria-describedby={`${field}-chosen`}
        onChange={(event) => onChoose(event.currentTarget.files?.[0] ?? null)}
      />
      <div id={`${field}-chosen`} class="chosen">
        {file !== null && (
          <>
            <Thumbnail file={file} />
            <span class="quiet">{formatBytes(file.size)}</span>
            <button type="button" class="plain" onClick={() => onChoose(null)}>
              Remove<span class="hidden"> {file.name}</span>
            </button>
          </>
        )}
      </div>
      {problem !== null && (
        <p class="error" role="alert" data-testid={`${field}-error`}>
          {problem.message}
        </p>
      )}
    </div>
  );
}

/** Only raster images: the browser would render an SVG as a document. */
export function Thumbnail({ file }: { file: File }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (!/^image\/(png|jpeg|webp|gif|avif|bmp)$/.test(file.type)) return setUrl(null);
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  if (url === null) return null;
  return <img class="thumbnail" src={url} alt={`Preview of ${file.name}`} />;
}
