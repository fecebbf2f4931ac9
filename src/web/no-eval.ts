import { z } from "zod";

// The pages run under a policy without `unsafe-eval`; zod's probe for it would be reported as a
// violation. Imported before any schema is made.
z.config({ jitless: true });
