-- A connection answers for another one of the same app. A use remembers who answered, and which connection the step used
-- before.
--
-- Adds a table, columns that may be NULL, and an index: the previous version works with them, and resolves every connection
-- as itself.

CREATE TABLE replacements (
  -- The connection that callers ask for.
  connection_id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  -- The one that answers.
  replaced_by TEXT NOT NULL,
  -- 1: somebody has said that their environments may differ.
  across_environments INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replacements_by_answering ON replacements (replaced_by);
CREATE INDEX replacements_by_workspace ON replacements (workspace_id);

CREATE TRIGGER replacements_need_a_workspace BEFORE INSERT ON replacements
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;

-- The connection that answered for this one at the last use. NULL: itself.
ALTER TABLE uses ADD COLUMN answered_by TEXT;
-- When the step came to use this connection instead of another one, and which that was. Without the latter nothing is to
-- be told.
ALTER TABLE uses ADD COLUMN changed_at INTEGER;
ALTER TABLE uses ADD COLUMN changed_from TEXT;
-- 'replacement', or how the step named the connection: 'default', 'only' or 'id'.
ALTER TABLE uses ADD COLUMN changed_by TEXT;
-- The connections of one step. No column that a use assigns is in it.
CREATE INDEX uses_by_step ON uses (workspace_id, workflow, step);

-- When a step last came to use this connection instead of another one. Whether that still matters, its uses say.
ALTER TABLE connections ADD COLUMN step_changed_at INTEGER;
