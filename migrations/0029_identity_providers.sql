-- Where the people of a workspace sign in: an OpenID Connect issuer. Adds a table; the previous version does not use it.

CREATE TABLE identity_providers (
  -- Follows from the workspace and the issuer. Its redirect URI has it.
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL UNIQUE REFERENCES workspaces (id),
  -- As the issuer calls itself.
  issuer TEXT NOT NULL,
  client_id TEXT NOT NULL,
  sealed_secret TEXT NOT NULL,
  -- basic or body.
  client_auth TEXT NOT NULL,
  -- The addresses that the issuer named when it was set up.
  authorize_url TEXT NOT NULL,
  token_url TEXT NOT NULL,
  keys_url TEXT NOT NULL,
  -- Whether its answers name the issuer (RFC 9207).
  sends_issuer INTEGER NOT NULL,
  -- Lists, as JSON.
  allowed_domains TEXT NOT NULL,
  admin_groups TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER identity_providers_need_a_workspace BEFORE INSERT ON identity_providers
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
