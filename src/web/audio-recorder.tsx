import { useEffect, useRef, useState } from "preact/hooks";

interface AudioRecorderProps {
  label: string;
  onRecorded: (file: File) => void;
}

/** Longest recording, milliseconds: it is in memory until it is sent. */
const LONGEST_MS = 600_000;

/** The type of what browsers record, and the end of its file's name. */
const ENDS = new Map([
  ["audio/webm", "webm"],
  ["audio/ogg", "ogg"],
  ["audio/mp4", "m4a"],
]);

/** Records the microphone, where the browser has one and lets pages use it: not over plain HTTP. */
export function AudioRecorder({ label, onRecorded }: AudioRecorderProps) {
  const [recorder, setRecorder] = useState<MediaRecorder | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const running = useRef<MediaRecorder | null>(null);
  useEffect(() => () => stop(running.current), []);
  if (navigator.mediaDevices === undefined || typeof MediaRecorder === "undefined") return null;
  const start = async () => {
    setTrouble(null);
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const made = record(stream, (file) => {
        running.current = null;
        setRecorder(null);
        if (file.size > 0) onRecorded(file);
      });
      running.current = made;
      setRecorder(made);
    } catch (error) {
      setTrouble(whyNot(error));
    }
  };
  return (
    <div class="chosen">
      <button
        type="button"
        aria-pressed={recorder !== null}
        onClick={() => (recorder === null ? void start() : stop(recorder))}
      >
        {recorder === null ? "Record" : "Stop recording"}
        <span class="hidden"> {label}</span>
      </button>
      <span role="status">{recorder !== null && "Recording…"}</span>
      {trouble !== null && (
        <p class="problem" role="alert">
          {trouble}
        </p>
      )}
    </div>
  );
}

function record(stream: MediaStream, onEnd: (file: File) => void): MediaRecorder {
  const recorder = new MediaRecorder(stream);
  const pieces: Blob[] = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data);
  const timer = setTimeout(() => stop(recorder), LONGEST_MS);
  recorder.onstop = () => {
    clearTimeout(timer);
    // Otherwise the browser goes on showing that the microphone is used.
    for (const track of stream.getTracks()) track.stop();
    const type = recorder.mimeType.split(";", 1)[0] || "audio/webm";
    onEnd(new File(pieces, `recording.${ENDS.get(type) ?? "webm"}`, { type }));
  };
  recorder.start();
  return recorder;
}

function stop(recorder: MediaRecorder | null): void {
  if (recorder !== null && recorder.state !== "inactive") recorder.stop();
}

function whyNot(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError") return "The browser doesn't let this page use the microphone.";
  if (name === "NotFoundError") return "There is no microphone.";
  return "The microphone can't be used.";
}
