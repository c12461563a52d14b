-- Deleting a workspace: one tombstone in the cache denies all copies, and its rows are erased in bounded steps.

-- When the tombstone was written to the cache. NULL in a deleted workspace: the scheduled run still has to write it.
ALTER TABLE workspaces ADD COLUMN tombstoned_at INTEGER;
-- When the scheduled run looks at a deleted workspace again: a lease, and the turn among several.
ALTER TABLE workspaces ADD COLUMN erase_after INTEGER NOT NULL DEFAULT 0;
CREATE INDEX workspaces_to_erase ON workspaces (erase_after) WHERE deleted_at IS NOT NULL;

-- Entries that must go from the cache: noted in the transaction of the change that outdates them, and removed once the
-- cache has confirmed the deletion. No entry of the cache outlives an hour, and no row here does.
CREATE TABLE cache_deletes (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  noted_at INTEGER NOT NULL,
  next_attempt_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_deletes_due ON cache_deletes (next_attempt_at);
CREATE INDEX cache_deletes_by_age ON cache_deletes (noted_at);

-- What one workspace has, for its deletion; what a scheduled run looks for, without a step through the rest.
CREATE INDEX IF NOT EXISTS authorizations_by_workspace ON authorizations (workspace_id);
CREATE INDEX IF NOT EXISTS sessions_by_workspace ON sessions (workspace_id);
CREATE INDEX IF NOT EXISTS sign_in_links_by_workspace ON sign_in_links (workspace_id);
CREATE INDEX IF NOT EXISTS revocations_by_workspace ON revocations (workspace_id);
CREATE INDEX revocations_by_expiry ON revocations (expires_at);
CREATE INDEX authorizations_with_verifier ON authorizations (expires_at) WHERE sealed_verifier IS NOT NULL;
CREATE INDEX authorizations_with_grant ON authorizations (expires_at) WHERE sealed_grant IS NOT NULL;

-- Whatever was still made in a workspace while it was deleted.
UPDATE keys SET revoked_at = (SELECT deleted_at FROM workspaces w WHERE w.id = workspace_id)
  WHERE revoked_at IS NULL AND workspace_id IN (SELECT id FROM workspaces WHERE deleted_at IS NOT NULL);
UPDATE connections SET deleted_at = (SELECT deleted_at FROM workspaces w WHERE w.id = workspace_id),
    generation = generation + 1, next_check_at = NULL
  WHERE deleted_at IS NULL AND workspace_id IN (SELECT id FROM workspaces WHERE deleted_at IS NOT NULL);

-- Nothing is made in a deleted workspace any more, whoever asks: a request that was let in before the deletion fails
-- here. The text is one that the program takes for a constraint.
CREATE TRIGGER keys_need_a_workspace BEFORE INSERT ON keys
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER sessions_need_a_workspace BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER sign_in_links_need_a_workspace BEFORE INSERT ON sign_in_links
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER links_need_a_workspace BEFORE INSERT ON links
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER authorizations_need_a_workspace BEFORE INSERT ON authorizations
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER connections_need_a_workspace BEFORE INSERT ON connections
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER clients_need_a_workspace BEFORE INSERT ON clients
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER apps_need_a_workspace BEFORE INSERT ON apps
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
-- A use is noted behind the answer. One that comes after its connection has ended would never be erased.
CREATE TRIGGER uses_need_a_connection BEFORE INSERT ON uses
WHEN NOT EXISTS (SELECT 1 FROM connections WHERE id = NEW.connection_id AND deleted_at IS NULL)
BEGIN
  SELECT RAISE(IGNORE);
END;
