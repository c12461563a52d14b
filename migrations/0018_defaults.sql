-- Environments and sharing of connections, defaults of apps, and what callers report about refused tokens.

-- 'production' or 'test'. NULL: unknown.
ALTER TABLE connections ADD COLUMN environment TEXT;
-- Whether everybody of the workspace sees and uses it. NULL in rows of earlier versions: it does if it has no owner.
ALTER TABLE connections ADD COLUMN is_shared INTEGER;
-- When a caller last reported that the app refuses its token, and something was done about it.
ALTER TABLE connections ADD COLUMN reported_at INTEGER;
-- The same two for what becomes a connection.
ALTER TABLE connect_links ADD COLUMN environment TEXT;
ALTER TABLE connect_links ADD COLUMN is_shared INTEGER;
ALTER TABLE flows ADD COLUMN environment TEXT;
ALTER TABLE flows ADD COLUMN is_shared INTEGER;
-- The only environment whose connections exist for a key. NULL: all.
ALTER TABLE api_keys ADD COLUMN environment TEXT;
-- How the step named the connection at its last use: 'default', 'only' or 'id'. NULL in rows of earlier versions: 'id'.
ALTER TABLE uses ADD COLUMN chosen_by TEXT;

-- The default connections of apps: of the workspace (an empty user) or of one user, in any environment (an empty one) or in
-- one. The connection may be gone: then it is none.
CREATE TABLE app_defaults (
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  user_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  connection_id TEXT NOT NULL,
  set_at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, app, user_id, environment)
) STRICT, WITHOUT ROWID;
CREATE INDEX app_defaults_by_connection ON app_defaults (connection_id);

-- What a person sees beside their own connections, in the order of lists.
CREATE INDEX connections_shared ON connections (workspace_id, created_at, id)
  WHERE deleted_at IS NULL AND coalesce(is_shared, user_id IS NULL);
-- The only connection of an app that somebody sees: a person's own, and the shared ones. Any number of them may wait to be
-- confirmed, and none of those counts.
CREATE INDEX connections_owned_by_app ON connections (workspace_id, app, user_id, environment)
  WHERE deleted_at IS NULL AND status <> 'awaiting_confirmation';
CREATE INDEX connections_shared_by_app ON connections (workspace_id, app, environment, created_at)
  WHERE deleted_at IS NULL AND status <> 'awaiting_confirmation' AND coalesce(is_shared, user_id IS NULL);

CREATE TRIGGER app_defaults_need_a_workspace BEFORE INSERT ON app_defaults
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
