/** The command line of `dialout`. */
import { Command, CommanderError } from "commander";
import packageInfo from "../package.json" with { type: "json" };
import { addDoctorCommand } from "./doctor-command.ts";
import { EXIT } from "./exit-code.ts";
import { explain } from "./explain.ts";
import { addJobCommands } from "./job-commands.ts";
import { addListCommands } from "./list-commands.ts";
import { screenFor } from "./output-options.ts";
import { addSubmitCommand } from "./submit-command.ts";

function rootCommand(): Command {
  const root = new Command("dialout")
    .description("Submits jobs to the spaces of a Dialout edge, and follows them.")
    .version(packageInfo.version, "--version", "print the version")
    .showHelpAfterError("(--help lists the options)")
    .addHelpText("after", `\nThe exit code says how a job ended: ${EXIT_CODES}.`)
    .exitOverride();
  addListCommands(root);
  addSubmitCommand(root);
  addJobCommands(root);
  addDoctorCommand(root);
  return root;
}

const EXIT_CODES = [
  `${EXIT.ok} completed`,
  `${EXIT.failed} failed`,
  `${EXIT.usage} wrong usage`,
  `${EXIT.canceled} canceled`,
  `${EXIT.refused} refused`,
  `${EXIT.unreachable} unreachable`,
].join(", ");

/** Whoever reads the output may leave, as `head` does. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.pipeClosed);
  throw error;
});
process.stderr.on("error", () => undefined);

try {
  await rootCommand().parseAsync();
} catch (error) {
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else {
    const { message, help, exitCode } = explain(error);
    screenFor({ quiet: false }).error(message, help);
    process.exitCode = exitCode;
  }
}
// What was printed into a pipe must be out before the sockets that may still be open are left.
await new Promise((resolve) => process.stdout.write("", resolve));
process.exit();
