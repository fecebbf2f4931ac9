/** A command that starts a worker, as it is pasted into a shell. */
export interface WorkerCommand {
  title: string;
  hint: string;
  command: string;
}

/**
 * The commands that serve a space with this token. It is in the environment: other users of the machine can read a
 * command's arguments.
 */
export function workerCommands(edge: string, space: string, token: string): WorkerCommand[] {
  const settings = `DIALOUT_URL=${edge} DIALOUT_SPACE=${space} DIALOUT_TOKEN=${token}`;
  return [
    {
      title: "Is everything connected?",
      hint: "Node.js 20 or newer, in a checkout of Dialout after npm ci. The demo analyses text.",
      command: `${settings} \\\n  npx dialout-worker demo`,
    },
    {
      title: "Your own program",
      hint: "It reads each job as JSON; each line that it prints is streamed. Put yours after the two dashes.",
      command: `${settings} \\\n  npx dialout-worker exec -- \\\n  ${UPPER_CASE}`,
    },
    {
      title: "A worker in Python",
      hint: "Python 3.11 or newer, and python3 -m pip install websockets. Put your model into the function perform of the file.",
      command: `${settings} \\\n  python3 docs/examples/worker.py`,
    },
  ];
}

const UPPER_CASE = `python3 -c 'import json, sys; print(json.load(sys.stdin)["input"]["prompt"].upper())'`;
