import { type NodePath, parseAsync, traverse, type types } from "@babel/core";
import { Instrumenter } from "@stryker-mutator/instrumenter";

/** One small fault: the characters from `start` to `end` of the file become `replacement`. */
export interface Mutant {
  file: string;
  kind: string;
  start: number;
  end: number;
  replacement: string;
}

/** Every fault that can be planted in the file: those of Stryker, and four kinds that it lacks. */
export async function mutantsOf(file: string, text: string): Promise<Mutant[]> {
  const mutants = [...(await strykerMutants(file, text)), ...(await moreMutants(file, text))];
  return mutants.sort((a, b) => a.start - b.start || a.end - b.end);
}

export function plant(text: string, mutant: Mutant): string {
  return text.slice(0, mutant.start) + mutant.replacement + text.slice(mutant.end);
}

async function strykerMutants(file: string, text: string): Promise<Mutant[]> {
  const lineStarts = [0, ...[...text.matchAll(/\n/g)].map((match) => match.index + 1)];
  const offset = (at: { line: number; column: number }) => (lineStarts[at.line] ?? 0) + at.column;
  const { mutants } = await new Instrumenter(SILENT).instrument(
    [{ name: file, mutate: true, content: text }],
    { plugins: null, excludedMutations: [], ignorers: [] },
  );
  return mutants.map(({ mutatorName, location, replacement }) => ({
    file,
    kind: mutatorName,
    start: offset(location.start),
    end: offset(location.end),
    replacement,
  }));
}

/** An `await` left out, a statement left out, a number one larger, nothing returned. */
async function moreMutants(file: string, text: string): Promise<Mutant[]> {
  const tree = await parseAsync(text, {
    configFile: false,
    babelrc: false,
    parserOpts: { plugins: ["typescript", ...(file.endsWith("x") ? (["jsx"] as const) : [])] },
  });
  if (tree === null) return [];
  const mutants: Mutant[] = [];
  const add = (kind: string, { start, end }: types.Node, replacement: string): void => {
    mutants.push({ file, kind, start: start ?? 0, end: end ?? 0, replacement });
  };
  const source = ({ start, end }: types.Node) => text.slice(start ?? 0, end ?? 0);
  traverse(tree, {
    TSType: (path: NodePath) => path.skip(),
    AwaitExpression: ({ node }) => add("Await", node, `(${source(node.argument)})`),
    NumericLiteral: ({ node }) => add("Number", node, String(node.value + 1)),
    ExpressionStatement: ({ node }) => {
      const callsSuper =
        node.expression.type === "CallExpression" && node.expression.callee.type === "Super";
      if (!callsSuper) add("Statement", node, ";");
    },
    ReturnStatement: ({ node }) => {
      if (node.argument) add("Return", node, "return undefined as never;");
    },
  });
  return mutants;
}

const nothing = () => {};
const SILENT = {
  isTraceEnabled: () => false,
  isDebugEnabled: () => false,
  isInfoEnabled: () => false,
  isWarnEnabled: () => false,
  isErrorEnabled: () => false,
  isFatalEnabled: () => false,
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
};
