-- The people of a workspace: who has signed in, and who owns a connection. A role belongs to the person, no longer to one
-- session alone.
--
-- Adds a table, an index and triggers. The previous version works with them: it opens sessions and makes connections, and the triggers
-- keep the table.

CREATE TABLE people (
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  user_id TEXT NOT NULL,
  name TEXT,
  -- member or admin.
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  -- NULL: the person has connections and never signed in, or not since this migration.
  last_signed_in_at INTEGER,
  PRIMARY KEY (workspace_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX people_admins ON people (workspace_id) WHERE role = 'admin';

-- The defaults of one person.
CREATE INDEX app_defaults_of_user ON app_defaults (workspace_id, user_id) WHERE user_id <> '';

INSERT INTO people (workspace_id, user_id, name, role, created_at, last_signed_in_at)
  SELECT workspace_id, user_id, max(user_name), CASE WHEN max(role = 'admin') THEN 'admin' ELSE 'member' END,
    min(created_at), max(created_at)
  FROM sessions WHERE session_type = 'person' AND user_id IS NOT NULL GROUP BY workspace_id, user_id;
INSERT OR IGNORE INTO people (workspace_id, user_id, name, role, created_at)
  SELECT workspace_id, user_id, max(user_name), 'member', min(created_at)
  FROM connections WHERE user_id IS NOT NULL AND deleted_at IS NULL GROUP BY workspace_id, user_id;

CREATE TRIGGER people_need_a_workspace BEFORE INSERT ON people
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
-- A sign-in can make an admin of somebody. It never takes the role away.
CREATE TRIGGER people_sign_in AFTER INSERT ON sessions WHEN NEW.session_type = 'person' AND NEW.user_id IS NOT NULL
BEGIN
  INSERT INTO people (workspace_id, user_id, name, role, created_at, last_signed_in_at)
    VALUES (NEW.workspace_id, NEW.user_id, NEW.user_name, NEW.role, NEW.created_at, NEW.created_at)
    ON CONFLICT (workspace_id, user_id) DO UPDATE SET name = coalesce(excluded.name, name),
      role = CASE WHEN excluded.role = 'admin' THEN 'admin' ELSE role END, last_signed_in_at = excluded.last_signed_in_at;
END;
CREATE TRIGGER people_get_connections AFTER UPDATE OF user_id ON connections
WHEN NEW.user_id IS NOT NULL AND NEW.user_id IS NOT OLD.user_id
BEGIN
  INSERT INTO people (workspace_id, user_id, name, role, created_at)
    VALUES (NEW.workspace_id, NEW.user_id, NEW.user_name, 'member', CAST(strftime('%s', 'now') AS INTEGER))
    ON CONFLICT (workspace_id, user_id) DO NOTHING;
END;
CREATE TRIGGER people_own_connections AFTER INSERT ON connections WHEN NEW.user_id IS NOT NULL
BEGIN
  INSERT INTO people (workspace_id, user_id, name, role, created_at)
    VALUES (NEW.workspace_id, NEW.user_id, NEW.user_name, 'member', NEW.created_at)
    ON CONFLICT (workspace_id, user_id) DO NOTHING;
END;
