import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../../scripts/local.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";

/** Where an nginx runs: its ports, and a folder with its certificate. They stay the same when it is restarted. */
export interface NginxPlace {
  folder: string;
  httpPort: number;
  /** `https://localhost:<port>`; known before nginx starts, because the edge must know its public address. */
  url: string;
  /** The file of the authority that its certificate comes from. */
  authority: string;
}

export async function makeNginxPlace(): Promise<NginxPlace> {
  const folder = mkdtempSync(join(tmpdir(), "dialout-nginx-"));
  const authority = makeCertificate(folder);
  const [httpPort, httpsPort] = [await freePort(), await freePort()];
  return { folder, httpPort, url: `https://localhost:${httpsPort}`, authority };
}

export function removeNginxPlace({ folder }: NginxPlace): void {
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Runs nginx with the block in docs/own-server.md, with only names, ports and files of certificates replaced.
 *
 * @param change a further change to the block, for a proxy that is set up wrongly
 */
export async function startNginx(
  { folder, httpPort, url, authority }: NginxPlace,
  edgePort: number,
  change: (block: string) => string = (block) => block,
): Promise<Program> {
  const block = change(readBlock())
    .replaceAll("/etc/letsencrypt/live/dialout.example/fullchain.pem", authority)
    .replaceAll("/etc/letsencrypt/live/dialout.example/privkey.pem", join(folder, "key.pem"))
    .replaceAll("dialout.example", "localhost")
    .replace("listen 80;", `listen 127.0.0.1:${httpPort};`)
    .replace("listen 443 ssl;", `listen 127.0.0.1:${new URL(url).port} ssl;`)
    .replace("127.0.0.1:8787", `127.0.0.1:${edgePort}`)
    // A public address has no port, but that of the tests has.
    .replaceAll("Host $host;", "Host $http_host;");
  const file = join(folder, "nginx.conf");
  writeFileSync(file, frame(folder, block));
  const program = new Program("-p", [folder, "-c", file], {}, "/usr/sbin/nginx");
  await program.prints("start worker process");
  return program;
}

function readBlock(): string {
  const page = readFileSync(join(ROOT, "docs/own-server.md"), "utf8");
  const block = /```nginx\n(.*?)```/s.exec(page)?.[1];
  if (block === undefined) throw new Error("docs/own-server.md has no block for nginx");
  return block;
}

/** What Debian's nginx.conf has around the files of `conf.d`, with all files in one folder. */
function frame(folder: string, block: string): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  // Otherwise the workers of an nginx that root starts could not write into the folder.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  return `daemon off;
${user}
pid ${folder}/pid;
error_log stderr notice;
events {}
http {
  access_log off;
${paths.map((name) => `  ${name}_temp_path ${folder}/${name};`).join("\n")}
${block}
}
`;
}

/** Makes a key, and a certificate for `localhost` that is its own authority; returns the certificate's file. */
function makeCertificate(folder: string): string {
  const certificate = join(folder, "certificate.pem");
  const files = ["-keyout", join(folder, "key.pem"), "-out", certificate];
  const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const key = ["-newkey", "rsa:2048", "-nodes", "-days", "1"];
  execFileSync("openssl", ["req", "-x509", ...key, ...files, ...name], { stdio: "ignore" });
  return certificate;
}
