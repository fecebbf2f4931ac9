/** The options that decide which tables there are; migrations/ has them (test/accounts/migration.test.ts). */
export const TABLE_OPTIONS = {
  emailAndPassword: { enabled: true, minPasswordLength: 10, maxPasswordLength: 128 },
  user: {
    additionalFields: {
      role: { type: "string", required: true, defaultValue: "member", input: false },
      disabledAt: { type: "date", required: false, input: false },
    },
  },
} as const;
