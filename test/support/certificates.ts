import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  key: string;
  cert: string;
}

export interface CertificateOptions {
  /** The host that it is for. */
  host?: string;
  /** From when and until when it is valid, as `YYYYMMDDHHMMSSZ`. */
  from?: string;
  until?: string;
}

/** Makes a key and a certificate that is its own authority. */
export function makeCertificate(options: CertificateOptions = {}): Certificate {
  const { host = "localhost", from = "20200101000000Z", until = "20900101000000Z" } = options;
  const folder = mkdtempSync(join(tmpdir(), "dialout-certificate-"));
  const run = (...args: string[]) => {
    execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  };
  try {
    const settings = [
      "[ca]\ndefault_ca=test\n[test]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.",
      "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied",
      `[ext]\nsubjectAltName=DNS:${host}\nbasicConstraints=CA:TRUE`,
    ];
    writeFileSync(join(folder, "ca.conf"), `${settings.join("\n")}\n`);
    writeFileSync(join(folder, "index.txt"), "");
    writeFileSync(join(folder, "serial"), "01\n");
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run("req", "-new", ...key, "-keyout", "key.pem", "-out", "request.pem", "-subj", `/CN=${host}`);
    const dates = ["-startdate", from, "-enddate", until];
    const sign = ["-selfsign", "-keyfile", "key.pem", "-in", "request.pem", "-out", "cert.pem"];
    run("ca", "-batch", "-notext", "-config", "ca.conf", "-extensions", "ext", ...dates, ...sign);
    const read = (name: string) => readFileSync(join(folder, name), "utf8");
    return { key: read("key.pem"), cert: read("cert.pem") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
