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

/** Every fault that can be planted in the file: those of Stryker, and the kinds that it lacks. */
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

/** An `await` left out, a statement left out, a number one larger, nothing returned, a query changed. */
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
  const addQueries = (node: types.Node): void => {
    mutants.push(...queryMutants(source(node), node.start ?? 0).map((one) => ({ ...one, file })));
  };
  traverse(tree, {
    TSType: (path: NodePath) => path.skip(),
    AwaitExpression: ({ node }) => add("Await", node, `(${source(node.argument)})`),
    NumericLiteral: ({ node }) => add("Number", node, String(node.value + 1)),
    ExpressionStatement: ({ node }) => {
      const callsSuper =
        node.expression.type === "CallExpression" && node.expression.callee.type === "Super";
      if (!callsSuper) add("Statement", node, ";");
    },
    StringLiteral: ({ node }) => addQueries(node),
    TemplateElement: ({ node }) => addQueries(node),
    ReturnStatement: ({ node }) => {
      if (node.argument) add("Return", node, "return undefined as never;");
    },
  });
  return mutants;
}

/** What may be wrong in a query: a pattern, and what each match of it becomes. */
const IN_QUERIES: [RegExp, string][] = [
  [/ <= /g, " < "],
  [/ >= /g, " > "],
  [/ < /g, " <= "],
  [/ > /g, " >= "],
  [/ \+ /g, " - "],
  [/ - /g, " + "],
  [/(?<=(?:WHERE|AND|OR)\s+[\w.]+) = /g, " <> "],
  [/(?<!BETWEEN \S+) AND /g, " OR "],
  [/ AND [\w.]+ (?:= '\w+'|[=<>]+ \d+|IS NULL|IS NOT NULL)/g, ""],
  [/ IS NULL/g, " IS NOT NULL"],
  [/ IS NOT NULL/g, " IS NULL"],
  [/\bMIN\(/g, "MAX("],
  [/\bMAX\(/g, "MIN("],
  [/ DESC\b/g, ""],
  [/(?<=ORDER BY [\w.]+)(?! DESC|[\w.])/g, " DESC"],
];

function queryMutants(query: string, at: number): Omit<Mutant, "file">[] {
  if (!/\b(?:SELECT|UPDATE|DELETE|INSERT|WHERE)\b/.test(query) || /\bCREATE\b/.test(query))
    return [];
  return IN_QUERIES.flatMap(([pattern, replacement]) =>
    [...query.matchAll(pattern)].map(({ index, 0: found }) => {
      const start = at + index;
      return { kind: "Query", start, end: start + found.length, replacement };
    }),
  );
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
