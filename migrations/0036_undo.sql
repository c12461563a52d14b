-- A disconnect from the page can be undone for five minutes.
--
-- Adds columns that may be NULL, and an index that has a row only during those minutes: the previous version works with them. It
-- takes such a connection for one that is to be revoked after its time, which it is.

-- Disconnected, and until when that may be undone. `deleted_at` is this time, too: no run takes the connection before it.
ALTER TABLE connections ADD COLUMN undo_until INTEGER;
-- What an undo brings back: JSON.
ALTER TABLE connections ADD COLUMN undo_state TEXT;
CREATE INDEX connections_to_undo ON connections (workspace_id, undo_until) WHERE undo_until IS NOT NULL;
CREATE INDEX connections_to_undo_by_user ON connections (workspace_id, user_id) WHERE undo_until IS NOT NULL;
CREATE INDEX connections_to_undo_by_app ON connections (workspace_id, app) WHERE undo_until IS NOT NULL;
CREATE INDEX connections_to_undo_by_client ON connections (oauth_client) WHERE undo_until IS NOT NULL;
