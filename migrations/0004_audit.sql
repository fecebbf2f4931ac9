-- Who did what, when and from where. The id is a ULID, so it is the time, too.
CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  actor_kind TEXT NOT NULL,
  actor TEXT,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  address TEXT NOT NULL,
  -- A JSON object, never with a secret in it.
  details TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_actor ON audit (actor, id);
CREATE INDEX audit_by_target ON audit (target, id);
