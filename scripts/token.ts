/**
 * Makes a user's token, as the operator's account system would, signed with the secret in .dev.vars:
 * `npm run token -- alice --rooms project:42`.
 */
import { program } from "commander";
import { SignJWT } from "jose";
import { secret } from "./local.ts";

const HOUR_S = 3_600;

program
  .name("token")
  .description("makes a user's token, signed by JWT_SECRET in .dev.vars")
  .argument("<user>", "the user's id")
  .option(
    "--rooms <patterns...>",
    "what it may follow beside global and user:<id>: project:42 agent:*",
  )
  .option("--publish <patterns...>", "what it may publish to, or report: project:42 job:*")
  .option("--spaces <patterns...>", "the spaces that it opens: demo team-*")
  .option("--hours <hours>", "how long it is valid", Number, 24)
  .action(
    async (
      user: string,
      options: { rooms?: string[]; publish?: string[]; spaces?: string[]; hours: number },
    ) => {
      const { rooms = [], publish = [], spaces = [], hours } = options;
      if (!(hours > 0)) program.error("--hours must be a number above 0");
      const exp = Math.floor(Date.now() / 1_000 + hours * HOUR_S);
      const token = new SignJWT({ rooms, publish, spaces, exp }).setProtectedHeader({ alg: "HS256" });
      console.log(
        await token.setSubject(user).sign(new TextEncoder().encode(secret("JWT_SECRET"))),
      );
    },
  );

await program.parseAsync();
