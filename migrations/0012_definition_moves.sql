-- A changed definition reaches the connections that were made with an earlier one, in bounded steps.
-- When the next step is due; NULL where nothing is left to do. Only the current revision has one.
ALTER TABLE apps ADD COLUMN move_due INTEGER;
-- The last connection that was looked at, as JSON: its revision and its id.
ALTER TABLE apps ADD COLUMN move_after TEXT NOT NULL DEFAULT '[0,""]';
-- How often all of them are looked at once more: what was under way may have been stored with an earlier revision.
ALTER TABLE apps ADD COLUMN move_passes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX apps_moving ON apps (move_due) WHERE move_due IS NOT NULL;
-- Why a connection stays with an earlier revision than the current one: JSON.
ALTER TABLE connections ADD COLUMN definition_changed TEXT;
-- Definitions that were changed before this migration.
UPDATE apps SET move_due = 0, move_passes = 0 WHERE current = 1 AND EXISTS (SELECT 1 FROM connections c
  WHERE c.workspace_id = apps.workspace_id AND c.app = apps.id AND c.app_revision > 0 AND c.app_revision < apps.revision);
