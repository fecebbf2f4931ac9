CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  -- Its owner. NULL: the operator.
  user_id TEXT REFERENCES "user" ("id") ON DELETE CASCADE,
  -- A JSON list.
  scopes TEXT NOT NULL,
  space TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER
) STRICT;

CREATE INDEX api_keys_by_user ON api_keys (user_id, id);
