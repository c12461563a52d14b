-- Where secrets may go is stored beside them (src/destinations.rs), and clients of one authorization server share a redirect
-- URI. One client id may now be registered at two authorization servers, so the old UNIQUE rule must go. SQLite can't drop
-- it: the table is made anew. Connections refer to it, so its rows are put back before the references are checked.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE clients_before AS SELECT * FROM clients;
DROP TABLE clients;
CREATE TABLE clients (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  -- An app's id, or the family that shares a client; behind a colon the auth method, where an app has several.
  registration TEXT NOT NULL,
  client_id TEXT NOT NULL,
  -- The redirect URI is /oauth/callback/{redirect_id}: one for each workspace, registration and authorization server.
  redirect_id TEXT NOT NULL,
  -- The authorization server it was set up for; NULL in a row from before this column.
  server TEXT,
  sealed_secret TEXT,
  -- Where the secret may go: JSON. NULL for an app of the catalogue, and in a row from before this column.
  destinations TEXT,
  -- Only of rows from before: the hosts that the secret was entered for.
  hosts TEXT NOT NULL DEFAULT '[]',
  variables TEXT NOT NULL DEFAULT '{}',
  scopes TEXT,
  secret_expires_at INTEGER,
  current INTEGER NOT NULL,
  misconfigured_at INTEGER,
  misconfigured_error TEXT,
  backoff_until INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (workspace_id, registration, client_id, redirect_id)
) STRICT, WITHOUT ROWID;
INSERT INTO clients (id, workspace_id, registration, client_id, redirect_id, sealed_secret, hosts, variables, scopes,
    secret_expires_at, current, misconfigured_at, misconfigured_error, backoff_until, failures, created_at, updated_at)
  SELECT id, workspace_id, registration, client_id, id, sealed_secret, hosts, variables, scopes,
    secret_expires_at, current, misconfigured_at, misconfigured_error, backoff_until, failures, created_at, updated_at
  FROM clients_before;
DROP TABLE clients_before;

-- Where a credential, a code or a token to be revoked may go: JSON. NULL for an app of the catalogue, and in a row from
-- before: then it follows from the revision of the definition that the row names.
ALTER TABLE connections ADD COLUMN destinations TEXT;
ALTER TABLE authorizations ADD COLUMN destinations TEXT;
ALTER TABLE revocations ADD COLUMN destinations TEXT;
