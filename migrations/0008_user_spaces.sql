-- The spaces to which a user submitted jobs, so that these can be listed, exported and erased.
CREATE TABLE user_spaces (
  user_id TEXT NOT NULL,
  space TEXT NOT NULL,
  PRIMARY KEY (user_id, space)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_spaces_by_space ON user_spaces (space);
