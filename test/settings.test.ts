import { describe, expect, it } from "vitest";
import { settingsError } from "../src/settings.ts";

const SECRETS = {
  OPERATOR_KEY: "an-operator-key-for-tests",
  SIGNING_KEY: "a-signing-key-for-tests",
  JWT_SECRET: "a-secret-for-the-tokens-of-tests",
};

describe("PUBLIC_URL", () => {
  it.each(["https://dialout.example", "https://dialout.example/", "http://10.0.0.7:8787"])(
    "may be %s",
    (PUBLIC_URL) => {
      expect(settingsError({ ...SECRETS, PUBLIC_URL })).toBeNull();
    },
  );

  it.each([
    "",
    "dialout.example",
    "ftp://dialout.example",
    "https://user:secret@dialout.example",
    "https://dialout.example/?a",
    "https://dialout.example/#a",
  ])("is refused as %j, without repeating it", (PUBLIC_URL) => {
    const error = settingsError({ ...SECRETS, PUBLIC_URL });
    expect(error).toContain("PUBLIC_URL must be an address");
    expect(error).not.toContain("secret");
  });

  it("is refused with a path", () => {
    const error = settingsError({ ...SECRETS, PUBLIC_URL: "https://host.example/dialout/" });
    expect(error).toContain("without a path");
  });
});

describe("TRUSTED_PROXIES", () => {
  it("must be addresses or ranges", () => {
    expect(settingsError({ ...SECRETS, TRUSTED_PROXIES: "127.0.0.1, 10.0.0.0/8" })).toBeNull();
    expect(settingsError({ ...SECRETS, TRUSTED_PROXIES: "true" })).toContain(
      "TRUSTED_PROXIES must be addresses or ranges separated by commas",
    );
  });
});

describe("CORS_ORIGINS", () => {
  it.each(["*", "https://app.example", "https://app.example, http://localhost:3000"])(
    "may be %s",
    (CORS_ORIGINS) => {
      expect(settingsError({ ...SECRETS, CORS_ORIGINS })).toBeNull();
    },
  );

  it.each(["", "app.example", "https://app.example/path", "*, https://app.example", "null"])(
    "can't be %j",
    (CORS_ORIGINS) => {
      expect(settingsError({ ...SECRETS, CORS_ORIGINS })).toContain("CORS_ORIGINS must be *");
    },
  );
});

describe("REGISTRATION", () => {
  it("is one of three words, which are said", () => {
    const error = settingsError({ ...SECRETS, REGISTRATION: "maybe" });
    expect(error).toContain("REGISTRATION must be one of open, invitation, closed");
  });
});
