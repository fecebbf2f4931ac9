/**
 * Which folder may import which. Imports of types alone are left out everywhere: they are gone at run
 * time, and `env.ts` has to name the classes of all objects.
 */
const PURE = "^src/(protocol|queue|channel|schema|backend-job-model)/";
const SHELLS =
  "^src/(storage|objects|auth|accounts|catalog|files|webhooks|space|backend-job|room|gateway|monitor|holder|file-sweep|http|client|web)/";

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: "no-circle-of-files",
      comment: "Two files that need each other can't be understood or tested apart.",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-circle-of-folders",
      comment: "Two folders that import each other are one folder in disguise.",
      severity: "error",
      scope: "folder",
      from: { path: "^src/" },
      to: { circular: true },
    },
    {
      name: "pure-folders-stay-below",
      comment:
        "Decisions are tested without a runtime, so they must not reach storage, sockets or HTTP.",
      severity: "error",
      from: { path: PURE },
      to: { path: SHELLS },
    },
    {
      name: "protocol-is-the-ground",
      comment: "Everything else is built on the wire's words; they are built on nothing of ours.",
      severity: "error",
      from: { path: "^src/protocol/" },
      to: { path: "^src/", pathNot: "^src/protocol/" },
    },
    {
      name: "storage-knows-no-object",
      comment: "Stores run on memory, node:sqlite and the runtime alike.",
      severity: "error",
      from: { path: "^src/storage/" },
      to: { path: "^src/(objects|space|backend-job|room|gateway|monitor|holder|file-sweep|http)/" },
    },
    {
      name: "objects-are-below-every-object",
      comment: "What all objects share can't depend on one of them.",
      severity: "error",
      from: { path: "^src/objects/" },
      to: { path: "^src/(space|backend-job|room|gateway|monitor|holder|file-sweep|http)/" },
    },
    {
      name: "nobody-imports-http",
      comment: "Routes call objects, never the other way round.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(http/|index\\.ts)" },
      to: { path: "^src/http/" },
    },
    {
      name: "programs-outside-the-edge-know-its-protocol-alone",
      comment:
        "The client library, the pages, the terminal's program and the worker run elsewhere.",
      severity: "error",
      from: { path: "^(src/client|src/web|terminal|worker-client)/" },
      to: { path: "^src/", pathNot: "^src/(protocol|channel|schema|client|web)/" },
    },
    {
      name: "the-worker-in-pages-needs-no-node",
      comment:
        "The core of the worker runs in browsers too: what it needs of Node.js is its platform (decision 0068).",
      severity: "error",
      from: { path: "^worker-client/browser/" },
      to: {
        path: "^(?!src/|worker-client/|node_modules/)|^node_modules/(ws|commander|picocolors)/",
        reachable: true,
      },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|node_modules)" },
    parser: "swc",
    tsConfig: { fileName: "tsconfig.json" },
    moduleSystems: ["es6"],
    enhancedResolveOptions: { extensions: [".ts", ".tsx", ".js"] },
  },
};
