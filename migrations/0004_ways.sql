-- An app may be connected in several ways, and not all of them have an OAuth client: connections.client may be NULL.
-- SQLite can't drop a NOT NULL, so the table is made anew. Nothing refers to it.
CREATE TABLE connections_new (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  -- Which of the app's ways to connect it was made by, which kind of credential that brings, and what the app's
  -- addresses depend on: JSON.
  way TEXT NOT NULL DEFAULT 'oauth2',
  kind TEXT NOT NULL DEFAULT 'oauth2',
  variables TEXT NOT NULL DEFAULT '{}',
  -- None where a person entered the credential.
  client TEXT REFERENCES clients (id),
  name TEXT NOT NULL,
  user_id TEXT,
  user_name TEXT,
  metadata TEXT NOT NULL DEFAULT '{}',
  allowed_workflows TEXT,
  account_id TEXT,
  account_label TEXT,
  scopes_requested TEXT NOT NULL,
  scopes_granted TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  connected_at INTEGER NOT NULL,
  last_used_at INTEGER,
  -- The credential group.
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('connected', 'awaiting_confirmation', 'needs_reconnect')),
  reason TEXT,
  sealed_credential TEXT,
  expires_at INTEGER,
  refreshable INTEGER NOT NULL,
  refreshed_at INTEGER,
  refresh_expires_at INTEGER,
  -- When the refresh token dies if nobody uses it until then.
  refresh_idle_until INTEGER,
  -- When the whole grant ends, however often it is refreshed.
  grant_expires_at INTEGER,
  -- The intent of refresh.rs: who is redeeming which refresh token, until when nobody else may.
  attempt_id TEXT,
  attempt_until INTEGER,
  attempt_token_hash TEXT,
  last_attempt_id TEXT,
  -- The hash of a refresh token whose redemption ended without a readable answer, and when it was first presented.
  ambiguous_token_hash TEXT,
  ambiguous_since INTEGER,
  next_attempt_at INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  -- The clock's work.
  checked_at INTEGER,
  check_evidence TEXT,
  next_check_at INTEGER,
  -- Disconnected, not yet revoked and erased.
  deleted_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO connections_new (id, workspace_id, app, app_revision, client, name, user_id, user_name, metadata, allowed_workflows,
    account_id, account_label, scopes_requested, scopes_granted, created_at, connected_at, last_used_at, generation, version, status,
    reason, sealed_credential, expires_at, refreshable, refreshed_at, refresh_expires_at, attempt_id, attempt_until, attempt_token_hash,
    last_attempt_id, ambiguous_token_hash, ambiguous_since, next_attempt_at, failures, last_error, checked_at, check_evidence,
    next_check_at, deleted_at)
  SELECT id, workspace_id, app, app_revision, client, name, user_id, user_name, metadata, allowed_workflows,
    account_id, account_label, scopes_requested, scopes_granted, created_at, connected_at, last_used_at, generation, version, status,
    reason, sealed_credential, expires_at, refreshable, refreshed_at, refresh_expires_at, attempt_id, attempt_until, attempt_token_hash,
    last_attempt_id, ambiguous_token_hash, ambiguous_since, next_attempt_at, failures, last_error, checked_at, check_evidence,
    next_check_at, deleted_at FROM connections;
DROP TABLE connections;
ALTER TABLE connections_new RENAME TO connections;
CREATE INDEX connections_by_workspace ON connections (workspace_id, created_at, id);
CREATE INDEX connections_by_account ON connections (workspace_id, app, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX connections_by_client ON connections (client);
CREATE INDEX connections_due ON connections (next_check_at) WHERE next_check_at IS NOT NULL;
-- The dead whose tokens are still kept: the clock forgets them after a week.
CREATE INDEX connections_dead ON connections (checked_at) WHERE reason IS NOT NULL AND sealed_credential IS NOT NULL;
CREATE INDEX connections_unconfirmed ON connections (created_at) WHERE status = 'awaiting_confirmation';
CREATE INDEX connections_deleted ON connections (deleted_at) WHERE deleted_at IS NOT NULL;

-- What the app's addresses depend on, as it was set together with the client.
ALTER TABLE clients ADD COLUMN variables TEXT NOT NULL DEFAULT '{}';

ALTER TABLE authorizations ADD COLUMN way TEXT NOT NULL DEFAULT 'oauth2';
ALTER TABLE authorizations ADD COLUMN variables TEXT NOT NULL DEFAULT '{}';

-- Jobs live for a day. Those of a pasted credential have no client.
CREATE TABLE revocations_new (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL,
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  way TEXT NOT NULL DEFAULT 'oauth2',
  variables TEXT NOT NULL DEFAULT '{}',
  client TEXT,
  account_id TEXT,
  sealed_tokens TEXT NOT NULL,
  failures INTEGER NOT NULL,
  next_attempt_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO revocations_new (id, workspace_id, app, app_revision, client, account_id, sealed_tokens, failures, next_attempt_at, expires_at)
  SELECT id, workspace_id, app, app_revision, client, account_id, sealed_tokens, failures, next_attempt_at, expires_at FROM revocations;
DROP TABLE revocations;
ALTER TABLE revocations_new RENAME TO revocations;
CREATE INDEX revocations_due ON revocations (next_attempt_at);

-- A link may be for one of the app's ways to connect.
ALTER TABLE links ADD COLUMN way TEXT;
