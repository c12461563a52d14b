-- What ends at once ends in steps where it is much, and each step finds its rows by an index.
--
-- Adds a column that may be NULL, and indexes, and replaces one. The previous version works with them. It does not know the
-- column, so deploy this version everywhere before you revoke a key that made much.

-- 1 while what a revoked key made is ended: its links, sign-in links and sessions count as ended, and the row stays.
ALTER TABLE api_keys ADD COLUMN is_ending INTEGER;
CREATE INDEX api_keys_ending ON api_keys (is_ending) WHERE is_ending IS NOT NULL;

-- Links that can still be used or confirmed: those that were used are kept for two weeks.
DROP INDEX connect_links_by_creator;
CREATE INDEX connect_links_unfinished ON connect_links (created_by_key)
  WHERE created_by_key IS NOT NULL AND status IN ('open', 'awaiting_confirmation');
CREATE INDEX IF NOT EXISTS connect_links_by_user ON connect_links (workspace_id, user_id) WHERE user_id IS NOT NULL;

-- Pending grants that a browser owns, when their workspace is deleted.
CREATE INDEX flows_with_owned_grant ON flows (workspace_id) WHERE sealed_grant IS NOT NULL AND session_hash <> '';

-- Connections that stayed with an earlier definition, when their app is deleted.
CREATE INDEX connections_with_blocked_update ON connections (workspace_id, app) WHERE definition_update_blocked IS NOT NULL;
