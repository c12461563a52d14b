-- What a key made carries the key's id, so that it can be listed, and ended with the key.
-- made_by is NULL for what was made before this migration, and for what no key made.

ALTER TABLE keys ADD COLUMN made_by TEXT;
-- After a rotation the secret from before is accepted until previous_until.
ALTER TABLE keys ADD COLUMN previous_hash TEXT;
ALTER TABLE keys ADD COLUMN previous_until INTEGER;
CREATE INDEX keys_by_maker ON keys (made_by) WHERE made_by IS NOT NULL;

-- key_expires_at is when the key that made it expires: no session that comes of it lives longer.
-- links.status has one more value: ended.
ALTER TABLE links ADD COLUMN made_by TEXT;
ALTER TABLE links ADD COLUMN key_expires_at INTEGER;
DROP INDEX links_by_workspace;
CREATE INDEX links_by_workspace ON links (workspace_id, created_at, id);
CREATE INDEX links_by_maker ON links (made_by) WHERE made_by IS NOT NULL;

-- role is member or admin.
ALTER TABLE sign_in_links ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
ALTER TABLE sign_in_links ADD COLUMN return_to TEXT;
ALTER TABLE sign_in_links ADD COLUMN made_by TEXT;
ALTER TABLE sign_in_links ADD COLUMN key_expires_at INTEGER;
ALTER TABLE sign_in_links ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
-- Until now every sign-in link lived for ten minutes.
UPDATE sign_in_links SET created_at = expires_at - 600;
CREATE INDEX sign_in_links_by_workspace ON sign_in_links (workspace_id, created_at, token_hash);
CREATE INDEX sign_in_links_by_maker ON sign_in_links (made_by) WHERE made_by IS NOT NULL;

ALTER TABLE sessions ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
ALTER TABLE sessions ADD COLUMN made_by TEXT;
CREATE INDEX sessions_by_workspace ON sessions (workspace_id, created_at, hash);
CREATE INDEX sessions_by_maker ON sessions (made_by) WHERE made_by IS NOT NULL;
