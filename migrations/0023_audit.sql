-- The audit log tells who did what in the whole workspace, and keeps the name and app that a connection had. A POST that
-- creates something can be repeated with the same Idempotency-Key.
--
-- Adds columns that may be NULL, an index and a table: the previous version works with them. An event that is about no
-- connection has an empty connection_id.

ALTER TABLE events ADD COLUMN app TEXT;
ALTER TABLE events ADD COLUMN connection_name TEXT;
ALTER TABLE events ADD COLUMN actor_name TEXT;
-- The id of what the event is about, where that is no connection: a key, a client, a link, a session.
ALTER TABLE events ADD COLUMN target TEXT;
ALTER TABLE events ADD COLUMN workflow TEXT;
ALTER TABLE events ADD COLUMN step TEXT;
ALTER TABLE events ADD COLUMN address TEXT;
ALTER TABLE events ADD COLUMN user_agent TEXT;
ALTER TABLE events ADD COLUMN request_id TEXT;
CREATE INDEX events_of_workspace ON events (workspace_id, occurred_at);

-- The id is a hash of the caller, the route and the Idempotency-Key. Without a status the request is being handled, until
-- the lease ends. An answer that showed a secret is not kept.
CREATE TABLE idempotent_requests (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  attempt_id TEXT NOT NULL,
  request_id TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  lease_expires_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  status INTEGER,
  created_id TEXT,
  sealed_answer TEXT
) STRICT;
CREATE INDEX idempotent_requests_by_expiry ON idempotent_requests (expires_at);
CREATE INDEX idempotent_requests_by_workspace ON idempotent_requests (workspace_id);
CREATE TRIGGER idempotent_requests_need_a_workspace BEFORE INSERT ON idempotent_requests
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
