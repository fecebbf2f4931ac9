import { useEffect, useRef, useState } from "preact/hooks";
import type { FileField } from "../schema/fields.ts";
import { AudioRecorder } from "./audio-recorder.tsx";
import { Thumbnail } from "./file-input.tsx";
import type { EntryProps } from "./schema-fields.tsx";
import { formatBytes } from "./wording.ts";

interface FilesEntryProps extends Pick<EntryProps, "id" | "field" | "described"> {
  file: FileField;
  files: readonly File[];
  onChoose: (files: readonly File[]) => void;
}

/** Files that somebody chooses or records, with what they look or sound like. */
export function FilesEntry({ id, field, file, files, described, onChoose }: FilesEntryProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Scripts can clear a file input, but not set its files: what it shows would be older than what is listed.
    const isOutdated = files.length === 0 || file.isList;
    if (isOutdated && input.current !== null) input.current.value = "";
  }, [files, file.isList]);
  const take = (chosen: readonly File[]) =>
    onChoose(file.isList ? [...files, ...chosen] : chosen.slice(0, 1));
  return (
    <>
      <input
        ref={input}
        id={id}
        {...described}
        type="file"
        multiple={file.isList}
        accept={acceptOf(file)}
        onChange={(event) => take([...(event.currentTarget.files ?? [])])}
      />
      {file.format === "audio" && (
        <AudioRecorder label={field.label} onRecorded={(made) => take([made])} />
      )}
      <ul class="chosen-files">
        {files.map((one, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: two files may be equal in all that is known of them
          <li key={`${index} ${one.name}`} class="chosen">
            <Preview file={one} />
            <span>
              {one.name} <span class="quiet small">{formatBytes(one.size)}</span>
            </span>
            <button type="button" class="plain" onClick={() => onChoose(files.toSpliced(index, 1))}>
              Remove<span class="hidden"> {one.name}</span>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function acceptOf({ format, mediaType }: FileField): string | undefined {
  return mediaType ?? (format === "file" ? undefined : `${format}/*`);
}

function Preview({ file }: { file: File }) {
  const kind = /^(audio|video)\//.exec(file.type)?.[1];
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (kind === undefined) return setUrl(null);
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file, kind]);
  if (url === null) return <Thumbnail file={file} />;
  const label = `Preview of ${file.name}`;
  // What somebody chose on their own machine has no captions.
  if (kind === "audio") {
    // biome-ignore lint/a11y/useMediaCaption: a file of the visitor's own, which nobody has captioned
    return <audio class="preview" controls src={url} aria-label={label} />;
  }
  // biome-ignore lint/a11y/useMediaCaption: the same
  return <video class="preview" controls src={url} aria-label={label} />;
}
