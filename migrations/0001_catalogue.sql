CREATE TABLE spaces (
  name TEXT PRIMARY KEY,
  title TEXT NOT NULL,
  visibility TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE worker_tokens (
  id TEXT PRIMARY KEY,
  space TEXT NOT NULL,
  name TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER
) STRICT;

CREATE INDEX worker_tokens_by_space ON worker_tokens (space, created_at);
