-- Copies for lists. The object of each space has its owner and members, and decides by them.
-- The id of the account that owns the space. NULL: the operator.
ALTER TABLE spaces ADD COLUMN owner TEXT;

CREATE INDEX spaces_by_owner ON spaces (owner, name);

CREATE TABLE space_members (
  space TEXT NOT NULL,
  user_id TEXT NOT NULL,
  access TEXT NOT NULL,
  PRIMARY KEY (user_id, space)
) STRICT, WITHOUT ROWID;

CREATE INDEX space_members_by_space ON space_members (space);

-- Spaces that are older than owners belong to the first admin, if there is one.
UPDATE spaces SET owner = (
  SELECT "id" FROM "user" WHERE "role" = 'admin' ORDER BY "createdAt", "id" LIMIT 1
);
