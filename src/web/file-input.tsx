import { useEffect, useRef, useState } from "preact/hooks";
import { checkFiles, type FileField } from "./draft.ts";
import { formatBytes } from "./wording.ts";

interface FileInputProps {
  field: FileField;
  files: File[];
  onChoose: (files: File[]) => void;
}

const LABELS: Record<FileField, string> = { file: "File", audio: "Audio", video: "Video" };
const ACCEPTS: Record<FileField, string | undefined> = {
  file: undefined,
  audio: "audio/*",
  video: "video/*",
};

/** Lets the user choose files, and shows of each its name and size and, for an image, a preview. */
export function FileInput({ field, files, onChoose }: FileInputProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Scripts can clear a file input, but not set its files.
    if (files.length === 0 && input.current !== null) input.current.value = "";
  }, [files]);
  const problem = checkFiles(files.map(({ name, size }) => ({ field, name, size })));
  return (
    <div class="field">
      <label for={field}>{LABELS[field]}</label>
      <input
        ref={input}
        id={field}
        data-testid={field}
        type="file"
        multiple
        accept={ACCEPTS[field]}
        aria-describedby={`${field}-chosen`}
        onChange={(event) => onChoose([...(event.currentTarget.files ?? [])])}
      />
      <div id={`${field}-chosen`}>
        {files.map((file) => (
          <ChosenFile
            key={`${file.name} ${file.size} ${file.lastModified}`}
            file={file}
            isNamed={files.length > 1}
            onRemove={() => onChoose(files.filter((other) => other !== file))}
          />
        ))}
      </div>
      {problem !== null && (
        <p class="error" role="alert" data-testid={`${field}-error`}>
          {problem.message}
        </p>
      )}
    </div>
  );
}

/** The browser's own input names a file that is alone. */
function ChosenFile({
  file,
  isNamed,
  onRemove,
}: {
  file: File;
  isNamed: boolean;
  onRemove: () => void;
}) {
  return (
    <div class="chosen">
      <Thumbnail file={file} />
      {isNamed && <span>{file.name}</span>}
      <span class="quiet">{formatBytes(file.size)}</span>
      <button type="button" class="plain" onClick={onRemove}>
        Remove<span class="hidden"> {file.name}</span>
      </button>
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
