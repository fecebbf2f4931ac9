import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { type Finding, ok, warning, wrong } from "./finding.ts";

const DAY_MS = 86_400_000;
/** A certificate that expires sooner than this is mentioned, days. */
const SOON_DAYS = 14;

/** What is known of the certificate that a server showed. */
export interface Shown {
  host: string;
  certificate: PeerCertificate;
  /** OpenSSL's code of what is wrong with it; `null` if the machine trusts it. */
  code: string | null;
}

/** Says in plain words whether this machine accepts a certificate, and why it doesn't. */
export function judgeCertificate({ host, certificate, code }: Shown, now: number): Finding {
  const until = Date.parse(certificate.valid_to);
  if (code === null) {
    const days = Math.floor((until - now) / DAY_MS);
    if (days >= SOON_DAYS)
      return ok("tls", `the certificate of ${host} is valid until ${dayOf(until)}`);
    return warning(
      "tls",
      `the certificate of ${host} expires on ${dayOf(until)}`,
      "see that it is renewed before that",
    );
  }
  const { why, advice } = explain(code, host, certificate, now);
  const otherHost = code === WRONG_HOST ? null : whyOtherHost(host, certificate);
  return wrong("tls", otherHost === null ? why : `${why}, and ${otherHost}`, advice);
}

const WRONG_HOST = "ERR_TLS_CERT_ALTNAME_INVALID";
const TRUST = "make this machine trust it with NODE_EXTRA_CA_CERTS=<file.pem>";

function explain(
  code: string,
  host: string,
  certificate: PeerCertificate,
  now: number,
): { why: string; advice: string } {
  const [from, until] = [Date.parse(certificate.valid_from), Date.parse(certificate.valid_to)];
  const today = `this machine's clock says ${dayOf(now)}`;
  switch (code) {
    case WRONG_HOST:
      return {
        why: whyOtherHost(host, certificate) ?? `the certificate is not for ${host}`,
        advice: "use a host name that the certificate has, or give the server one for this name",
      };
    case "CERT_HAS_EXPIRED":
      return {
        why: `the certificate of ${host} expired on ${dayOf(until)}`,
        advice: `renew it on the server (${today}: if that is wrong, set the clock)`,
      };
    case "CERT_NOT_YET_VALID":
      return {
        why: `the certificate of ${host} is valid only from ${dayOf(from)} on`,
        advice: `set this machine's clock, if it is wrong (${today})`,
      };
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return {
        why: `the certificate of ${host} is self-signed: no authority vouches for it`,
        advice: `if the server is yours, ${TRUST}; otherwise somebody may be listening in`,
      };
    case "SELF_SIGNED_CERT_IN_CHAIN":
      return {
        why: `the certificate of ${host} comes from an authority that this machine doesn't know (${issuerOf(certificate)})`,
        advice: `if it is your own or your company's authority, ${TRUST}`,
      };
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
      return {
        why: `nothing connects the certificate of ${host} with an authority that this machine knows (it names ${issuerOf(certificate)})`,
        advice: `have the server send its whole chain (fullchain.pem), or, if the authority is your own, ${TRUST}`,
      };
    default:
      return {
        why: `the certificate of ${host} is not accepted (${code})`,
        advice: `look at it with: openssl s_client -connect ${host}:443 -servername ${host}`,
      };
  }
}

/** The names come from the server. */
function whyOtherHost(host: string, certificate: PeerCertificate): string | null {
  if (checkServerIdentity(host, certificate) === undefined) return null;
  const names = (certificate.subjectaltname ?? "").replaceAll(/(?:DNS|IP Address):/g, "");
  const known = names || nameOf(certificate.subject) || "no host";
  return `the certificate is for ${known.slice(0, 200)}, not for ${host}`;
}

function issuerOf({ issuer }: PeerCertificate): string {
  return nameOf(issuer) || "no name";
}

/** Certificates may leave out all of it. */
function nameOf(subject: PeerCertificate["issuer"] | undefined): string {
  const { CN, O } = Object(subject);
  return String(CN ?? O ?? "").slice(0, 100);
}

function dayOf(time: number): string {
  return Number.isNaN(time) ? "an unknown day" : new Date(time).toISOString().slice(0, 10);
}
