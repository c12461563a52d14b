-- Every connection of an app, or of one of its OAuth clients, is denied by one row, and ended behind it in steps.
--
-- Adds two tables, a column that may be NULL, and triggers. The previous version works with them. It does not know the row, so
-- deploy this version everywhere before you use it.

CREATE TABLE disconnect_jobs (
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  -- Only the connections of this client. Empty: all.
  oauth_client TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL,
  -- It ends the connections that were made until then.
  made_until INTEGER NOT NULL,
  -- What was counted when it began, and whether that was all.
  connections INTEGER NOT NULL,
  workflows INTEGER NOT NULL,
  is_count_complete INTEGER NOT NULL,
  -- Connections that were ended for it, and those of them that were erased.
  ended INTEGER NOT NULL DEFAULT 0,
  erased INTEGER NOT NULL DEFAULT 0,
  -- What became of their grants.
  confirmed INTEGER NOT NULL DEFAULT 0,
  unsupported INTEGER NOT NULL DEFAULT 0,
  kept_shared INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  -- When the cache was told.
  tombstoned_at INTEGER,
  finished_at INTEGER
) STRICT;
CREATE INDEX disconnect_jobs_unfinished ON disconnect_jobs (workspace_id, app, oauth_client, made_until) WHERE finished_at IS NULL;
CREATE INDEX disconnect_jobs_by_workspace ON disconnect_jobs (workspace_id, made_until, app);
CREATE INDEX disconnect_jobs_by_end ON disconnect_jobs (finished_at);
CREATE TRIGGER disconnect_jobs_need_a_workspace BEFORE INSERT ON disconnect_jobs
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;

-- As long as a job is not finished, its connections are denied: those of the app, or of one of its clients, that were made until
-- then. Whoever reads a connection looks here.
CREATE TABLE denied_apps (
  workspace_id TEXT NOT NULL,
  app TEXT NOT NULL,
  oauth_client TEXT NOT NULL DEFAULT '',
  made_until INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, app, oauth_client)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER denied_apps_need_a_workspace BEFORE INSERT ON denied_apps
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;

ALTER TABLE connections ADD COLUMN disconnect_job TEXT;
CREATE TRIGGER erased_connections_of_jobs_are_counted AFTER DELETE ON connections WHEN OLD.disconnect_job IS NOT NULL
BEGIN
  UPDATE disconnect_jobs SET erased = erased + 1 WHERE id = OLD.disconnect_job;
END;
