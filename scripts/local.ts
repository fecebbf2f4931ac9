/** The address, secrets and tokens of an edge on this machine, for all local commands. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { setupCode } from "../src/auth/setup-code.ts";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const PORT = readPort();
/** The address on which the edge listens. */
export const HOST = process.env.HOST || "127.0.0.1";
/** Only programs on this machine can dial such an address. */
export const LISTENS_ON_LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(HOST);
export const EDGE_URL = `http://${hostToDial()}:${PORT}`;
export const DEMO_SPACE = "demo";

/** The file with the secrets, and with the settings that are not in the environment. */
export const DEV_VARS = join(ROOT, ".dev.vars");
const STATE = resolve(ROOT, process.env.DIALOUT_STATE || join(".wrangler", "state"));

/** The folder in which the edge stores D1, R2 and objects; it outlives restarts. */
export const STATE_FOLDER = STATE;
export const TOKEN_FILE = join(STATE, "demo-worker-token");

/** The edge's object classes by binding, for programs that run it without wrangler. */
export const OBJECTS = {
  SPACE: "SpaceObject",
  JOB: "JobObject",
  JOB_INDEX: "JobIndexObject",
  ROOM: "RoomObject",
  GATEWAY: "GatewayObject",
  MONITOR: "MonitorObject",
  HOLDER: "HolderObject",
  FILE_SWEEP: "FileSweepObject",
};

/** Makes missing secrets: random ones, in a file that only its owner can read. */
export function ensureSecrets(): void {
  try {
    addMissingSecrets();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.error(
      `The file with the secrets can't be used: ${why}\nGive this user the right to read and write it.`,
    );
    process.exit(1);
  }
}

function addMissingSecrets(): void {
  const text = existsSync(DEV_VARS) ? readFileSync(DEV_VARS, "utf8") : "";
  const missing = ["OPERATOR_KEY", "SIGNING_KEY", "JWT_SECRET"].filter(
    (name) => !new RegExp(`^${name}=`, "m").test(text),
  );
  if (missing.length === 0) return;
  const lines = missing.map((name) => `${name}=${randomBytes(24).toString("base64url")}\n`);
  const glue = text === "" || text.endsWith("\n") ? "" : "\n";
  writeFileSync(DEV_VARS, text + glue + lines.join(""), { mode: 0o600 });
}

/** The variables in `.dev.vars`, the secrets among them. */
export function localVariables(): Partial<Record<string, string>> {
  ensureSecrets();
  return parseEnv(readFileSync(DEV_VARS, "utf8"));
}

export function operatorKey(): string {
  return secret("OPERATOR_KEY");
}

export function secret(name: string): string {
  ensureSecrets();
  const line = new RegExp(`^${name}\\s*=\\s*"?([^"\\n]+?)"?\\s*$`, "m");
  const value = line.exec(readFileSync(DEV_VARS, "utf8"))?.[1];
  if (value === undefined) throw new Error(`${DEV_VARS} has no ${name}`);
  return value;
}

/** Sends the edge a request with the operator's key. */
export async function callEdge(method: string, path: string, body?: object): Promise<Response> {
  return fetch(EDGE_URL + path, {
    method,
    headers: {
      authorization: `Bearer ${operatorKey()}`,
      ...(body ? { "content-type": "application/json" } : {}),
    },
    body: body ? JSON.stringify(body) : undefined,
  });
}

/** The path of the page that makes the first admin, with the code it needs; `null` if there is one. */
export async function setupPath(): Promise<string | null> {
  const answer = await callEdge("GET", "/api/auth");
  const { needs_setup: isNeeded } = (await answer.json()) as { needs_setup: boolean };
  return isNeeded ? `/setup#code=${setupCode(operatorKey())}` : null;
}

/** Creates the demo space if it is missing, and a worker token if the stored one no longer exists. */
export async function ensureDemoSpace(): Promise<void> {
  const created = await callEdge("POST", "/api/spaces", {
    name: DEMO_SPACE,
    title: "Demo: words and pictures",
    description: "Analyses the language of a text, or reads the words in an image.",
    enable_file_upload: true,
  });
  if (!created.ok && created.status !== 409) throw new Error(await created.text());
  const listed = await callEdge("GET", `/api/spaces/${DEMO_SPACE}/tokens`);
  const { tokens } = (await listed.json()) as { tokens: { id: string }[] };
  const stored = existsSync(TOKEN_FILE) ? readFileSync(TOKEN_FILE, "utf8").trim() : "";
  const storedId = existsSync(`${TOKEN_FILE}.id`) ? readFileSync(`${TOKEN_FILE}.id`, "utf8") : "";
  if (stored !== "" && tokens.some(({ id }) => id === storedId)) return;
  const minted = await callEdge("POST", `/api/spaces/${DEMO_SPACE}/tokens`, {
    name: "demo worker",
  });
  const { id, token } = (await minted.json()) as { id: string; token: string };
  mkdirSync(STATE, { recursive: true });
  writeFileSync(TOKEN_FILE, `${token}\n`, { mode: 0o600 });
  writeFileSync(`${TOKEN_FILE}.id`, id);
}

/** An edge that listens everywhere is dialed on the loopback address. */
function hostToDial(): string {
  if (HOST === "0.0.0.0") return "127.0.0.1";
  if (HOST === "::") return "[::1]";
  return isIPv6(HOST) ? `[${HOST}]` : HOST;
}

function readPort(): number {
  const port = Number(process.env.PORT || 8787);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  console.error(`PORT must be a port number, not ${process.env.PORT}.`);
  process.exit(2);
}
