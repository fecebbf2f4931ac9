-- The rooms that have events, for admins: a row is added at a room's first event and removed with the room.
CREATE TABLE rooms (
  name TEXT PRIMARY KEY,
  first_event_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
