-- The indexes for the only connection of an app that somebody sees, by a column that no refresh assigns: with `status` in
-- their condition, each refresh and each check wrote both entries again.

-- 1: nobody has confirmed yet who made it. NULL: somebody has, or nobody has to.
ALTER TABLE connections ADD COLUMN is_unconfirmed INTEGER;
UPDATE connections SET is_unconfirmed = 1 WHERE status = 'awaiting_confirmation' AND status <> 'connected' AND deleted_at IS NULL;

DROP INDEX connections_owned_by_app;
DROP INDEX connections_shared_by_app;
CREATE INDEX connections_owned_by_app ON connections (workspace_id, app, user_id, environment)
  WHERE deleted_at IS NULL AND is_unconfirmed IS NULL;
CREATE INDEX connections_shared_by_app ON connections (workspace_id, app, environment, created_at)
  WHERE deleted_at IS NULL AND is_unconfirmed IS NULL AND coalesce(is_shared, user_id IS NULL);
