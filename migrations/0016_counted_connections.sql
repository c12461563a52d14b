-- The connections of a workspace are counted as they are made and erased, so that nobody has to count them; and the
-- connections that waited for an OAuth client are woken in steps.
--
-- Adds columns, triggers and an index: the previous version works with them, and is counted too.

ALTER TABLE workspaces ADD COLUMN connection_count INTEGER NOT NULL DEFAULT 0;
UPDATE workspaces SET connection_count = (SELECT count(*) FROM connections c WHERE c.workspace_id = workspaces.id);
CREATE TRIGGER connections_are_counted AFTER INSERT ON connections
BEGIN
  UPDATE workspaces SET connection_count = connection_count + 1 WHERE id = NEW.workspace_id;
END;
CREATE TRIGGER erased_connections_are_counted AFTER DELETE ON connections
BEGIN
  UPDATE workspaces SET connection_count = connection_count - 1 WHERE id = OLD.workspace_id;
END;

-- A client that was entered again, until the connections that waited for it are woken: the rowid of the last one that was,
-- and within a step, of the last one that is.
ALTER TABLE oauth_clients ADD COLUMN wake_after INTEGER;
ALTER TABLE oauth_clients ADD COLUMN wake_to INTEGER;
CREATE INDEX oauth_clients_to_wake ON oauth_clients (wake_after) WHERE wake_after IS NOT NULL;
