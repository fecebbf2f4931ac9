import { z } from "zod";

// The pages run under a policy without `unsafe-eval`; zod's probe for it would be reported as a
// violation. This must be imported before any schema is created.
z.config({ jitless: true });
