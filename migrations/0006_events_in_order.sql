-- A second has room for several events, and an id tells nothing of their order: `seq` does. What a table without rowids
-- has for a key can't be changed, so the table is made anew. Nothing refers to it.
CREATE TABLE events_new (
  seq INTEGER PRIMARY KEY,
  workspace_id TEXT NOT NULL,
  connection_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  actor TEXT NOT NULL,
  detail TEXT
) STRICT;
INSERT INTO events_new (workspace_id, connection_id, at, id, type, actor, detail)
  SELECT workspace_id, connection_id, at, id, type, actor, detail FROM events ORDER BY at, id;
DROP TABLE events;
ALTER TABLE events_new RENAME TO events;
CREATE INDEX events_of_connection ON events (workspace_id, connection_id, at);
CREATE INDEX events_by_age ON events (at);
