import { type Finding, ok, warning } from "./finding.ts";

type Environment = Record<string, string | undefined>;

/**
 * Says whether the environment names a proxy for this address. Sockets are opened directly, whatever it names: where
 * only a proxy gets out, nothing else would explain why the next steps fail.
 */
export function checkProxySettings(url: URL, env: Environment): Finding {
  const names =
    url.protocol === "https:"
      ? ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
      : ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
  const name = names.find((candidate) => (env[candidate] ?? "") !== "");
  if (name === undefined) return ok("proxy", "the environment names no proxy");
  const exceptions = env.NO_PROXY ?? env.no_proxy ?? "";
  if (isException(url.hostname, exceptions)) {
    return ok("proxy", `${name} is set, but not for ${url.hostname} (NO_PROXY)`);
  }
  return warning(
    "proxy",
    `${name} names the proxy ${placeOf(env[name] ?? "")}, but Dialout's programs connect directly`,
    `if the next steps fail, let this machine reach ${url.host} without the proxy; if they don't, all is well`,
  );
}

/** A proxy's address may contain a password. */
function placeOf(proxy: string): string {
  const text = proxy.includes("://") ? proxy : `http://${proxy}`;
  return URL.canParse(text) ? new URL(text).host : "(an address that can't be read)";
}

function isException(host: string, exceptions: string): boolean {
  return exceptions
    .split(/[\s,]+/)
    .map((entry) =>
      entry
        .replace(/:\d+$/, "")
        .replace(/^\*?\./, "")
        .toLowerCase(),
    )
    .some(
      (entry) => entry !== "" && (entry === "*" || host === entry || host.endsWith(`.${entry}`)),
    );
}
