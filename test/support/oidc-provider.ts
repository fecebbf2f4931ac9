import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";

/** Who signs in at the provider next, as its ID token says it. */
type Person = { sub: string; email: string; name: string; email_verified: boolean };

interface Pending {
  nonce: string;
  challenge: string;
  redirectUri: string;
}

/** A small provider of OpenID Connect over real HTTP: it checks PKCE and the redirect address, as providers do. */
export class OidcProvider {
  person: Person = { sub: "1", email: "ann@example.com", name: "Ann", email_verified: true };
  /** What its ID tokens say besides or instead. */
  claims: JWTPayload = {};
  readonly clientId = "dialout-of-the-tests";
  private readonly server: Server;
  private readonly codes = new Map<string, Pending>();
  private readonly keys = generateKeyPair("RS256");

  private constructor() {
    this.server = createServer((request, response) => {
      this.answer(request).then(
        ({ status = 200, headers = {}, body }) => {
          response.writeHead(status, { "content-type": "application/json", ...headers });
          response.end(JSON.stringify(body ?? {}));
        },
        (error) => response.writeHead(400).end(String(error)),
      );
    });
  }

  static async start(): Promise<OidcProvider> {
    const provider = new OidcProvider();
    await new Promise<void>((resolve) => provider.server.listen(0, "127.0.0.1", resolve));
    return provider;
  }

  get issuer(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async answer(
    request: IncomingMessage,
  ): Promise<{ status?: number; headers?: Record<string, string>; body?: object }> {
    const { pathname, searchParams } = new URL(request.url ?? "/", this.issuer);
    switch (pathname) {
      case "/.well-known/openid-configuration":
        return { body: this.configuration() };
      case "/jwks": {
        const key = await exportJWK((await this.keys).publicKey);
        return { body: { keys: [{ ...key, kid: "k1", alg: "RS256", use: "sig" }] } };
      }
      case "/authorize":
        return { status: 302, headers: { location: this.authorize(searchParams) } };
      case "/token":
        return { body: await this.redeem(new URLSearchParams(await textOf(request))) };
      default:
        return { status: 404 };
    }
  }

  private configuration(): object {
    const { issuer } = this;
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      id_token_signing_alg_values_supported: ["RS256"],
    };
  }

  private authorize(query: URLSearchParams): string {
    const field = (name: string) => query.get(name) ?? "";
    if (field("client_id") !== this.clientId) throw new Error("unknown client");
    if (field("code_challenge_method") !== "S256") throw new Error("PKCE is missing");
    const code = randomUUID();
    const redirectUri = field("redirect_uri");
    this.codes.set(code, {
      nonce: field("nonce"),
      challenge: field("code_challenge"),
      redirectUri,
    });
    const back = new URL(redirectUri);
    back.searchParams.set("code", code);
    back.searchParams.set("state", field("state"));
    return back.href;
  }

  private async redeem(form: URLSearchParams): Promise<object> {
    const pending = this.codes.get(form.get("code") ?? "");
    this.codes.delete(form.get("code") ?? "");
    const challenge = createHash("sha256").update(form.get("code_verifier") ?? "");
    if (pending === undefined) throw new Error("unknown code");
    if (challenge.digest("base64url") !== pending.challenge) throw new Error("wrong verifier");
    if (form.get("redirect_uri") !== pending.redirectUri) throw new Error("wrong redirect address");
    const usual = { iss: this.issuer, aud: this.clientId, nonce: pending.nonce };
    const claims = { ...this.person, ...usual, ...this.claims };
    const idToken = await new SignJWT(claims)
      .setProtectedHeader({ alg: "RS256", kid: "k1" })
      .setIssuedAt()
      .setExpirationTime("5 min")
      .sign((await this.keys).privateKey);
    return { access_token: randomUUID(), token_type: "Bearer", expires_in: 300, id_token: idToken };
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of request.setEncoding("utf8")) text += piece;
  return text;
}
