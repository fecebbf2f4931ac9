import { describe, expect, it } from "vitest";
import { refusalOf } from "../../src/webhooks/target.ts";

describe("the address of a webhook", () => {
  it.each([
    "https://example.com/hook",
    "https://hooks.example.co.uk:8443/a?b=c",
    "https://93.184.215.14/",
    "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
  ])("may be public: %s (H14f)", (url) => {
    expect(refusalOf(url, false)).toBeNull();
  });

  it.each([
    "http://example.com/",
    "ftp://example.com/",
    "not a url",
    "https://user:password@example.com/",
    "https://localhost/",
    "https://localhost./",
    "https://a.localhost/",
    "https://printer/",
    "https://nas.local/",
    "https://metadata.google.internal/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://0.0.0.0/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[::10.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://localhost../",
    "https://LOCALHOST/",
    "https://127.0.0.1.nip.io/",
    "https://10-0-0-1.sslip.io/",
    "https://a.localtest.me/",
    "https://kubernetes.default.svc/",
    "https://kubernetes.default.svc.cluster.local/",
    "https://redis.docker/",
    "https://intranet.corp/",
    "https://user@example.com/",
    "https://127。0。0。1/",
    "https://①②⑦.0.0.1/",
  ])("must not be private or unencrypted: %s (H14f)", (url) => {
    expect(refusalOf(url, false)).toMatch(/^(is|must) /);
  });

  it("may be any web address for an edge on one's own machine (H14f)", () => {
    expect(refusalOf("http://127.0.0.1:9000/hook", true)).toBeNull();
    expect(refusalOf("file:///etc/passwd", true)).toBe("must be an http: or https: URL");
  });
});
