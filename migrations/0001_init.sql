-- The record. Every row belongs to exactly one workspace; times are Unix seconds; columns named
-- sealed_* hold envelopes of vault.rs and nothing else holds a secret. docs/storage.md tells more.

CREATE TABLE workspaces (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  allowed_origins TEXT NOT NULL DEFAULT '[]',
  created_at INTEGER NOT NULL,
  -- Deleted by the operator: its connections are revoked first, then the rows go.
  deleted_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX workspaces_deleted ON workspaces (deleted_at) WHERE deleted_at IS NOT NULL;

-- API keys: only the SHA-256 of a random secret. NULL allow-lists allow everything.
CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  name TEXT NOT NULL,
  hash TEXT NOT NULL,
  scopes TEXT NOT NULL,
  connections TEXT,
  apps TEXT,
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  -- Revoked: stays until its copy in the cache is surely gone.
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_revoked ON keys (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX keys_by_workspace ON keys (workspace_id, id);

-- Custom apps. Every change is a new revision: connections stay with the one they were made with.
CREATE TABLE apps (
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  definition TEXT NOT NULL,
  current INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, id, revision)
) STRICT, WITHOUT ROWID;

-- OAuth clients. `registration` is an app's id or the family that shares a client. `hosts` lists
-- where the secret may be sent: a definition that names others demands the secret again.
CREATE TABLE clients (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  registration TEXT NOT NULL,
  client_id TEXT NOT NULL,
  sealed_secret TEXT,
  scopes TEXT,
  hosts TEXT NOT NULL,
  secret_expires_at INTEGER,
  current INTEGER NOT NULL,
  misconfigured_at INTEGER,
  misconfigured_error TEXT,
  backoff_until INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (workspace_id, registration, client_id)
) STRICT, WITHOUT ROWID;

-- Connections. Two groups of columns change apart from each other: what a person edits (name,
-- metadata, policy), and the credential group, guarded by `generation` and `version`.
CREATE TABLE connections (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  client TEXT NOT NULL REFERENCES clients (id),
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
  -- The intent of refresh.rs: who is redeeming which refresh token, until when nobody else may.
  attempt_id TEXT,
  attempt_until INTEGER,
  attempt_token_hash TEXT,
  last_attempt_id TEXT,
  -- The hash of a refresh token whose redemption ended without a readable answer.
  ambiguous_token_hash TEXT,
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
CREATE INDEX connections_by_workspace ON connections (workspace_id, created_at, id);
CREATE INDEX connections_by_account ON connections (workspace_id, app, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX connections_by_client ON connections (client);
CREATE INDEX connections_due ON connections (next_check_at) WHERE next_check_at IS NOT NULL;
-- The dead whose tokens are still kept: the clock forgets them after a week.
CREATE INDEX connections_dead ON connections (checked_at) WHERE reason IS NOT NULL AND sealed_credential IS NOT NULL;
CREATE INDEX connections_unconfirmed ON connections (created_at) WHERE status = 'awaiting_confirmation';
CREATE INDEX connections_deleted ON connections (deleted_at) WHERE deleted_at IS NOT NULL;

-- One pending OAuth flow. `state_hash` and `session_hash` are SHA-256.
CREATE TABLE authorizations (
  id TEXT PRIMARY KEY,
  state_hash TEXT NOT NULL UNIQUE,
  session_hash TEXT NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  client TEXT NOT NULL,
  connection_id TEXT,
  generation INTEGER,
  link_id TEXT,
  user_id TEXT,
  user_name TEXT,
  scopes TEXT NOT NULL,
  issuer TEXT,
  iss_promised INTEGER NOT NULL,
  sealed_verifier TEXT,
  return_to TEXT,
  -- pending, denied, failed, undecided, awaiting_confirmation, done, discarded
  outcome TEXT NOT NULL,
  error TEXT,
  sealed_grant TEXT,
  -- The grant's public side, and what it collides with: JSON.
  pending TEXT,
  used_at INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX authorizations_by_expiry ON authorizations (expires_at);
CREATE INDEX authorizations_by_session ON authorizations (session_hash, created_at);

CREATE TABLE links (
  id TEXT PRIMARY KEY,
  token_hash TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  connection_id TEXT,
  scopes TEXT,
  user_id TEXT,
  user_name TEXT,
  return_to TEXT,
  on_duplicate TEXT NOT NULL,
  confirm INTEGER NOT NULL,
  -- open, awaiting_confirmation, used
  status TEXT NOT NULL,
  session_hash TEXT,
  result_connection TEXT,
  authorization_id TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_expiry ON links (expires_at);
CREATE INDEX links_by_workspace ON links (workspace_id, created_at);

-- A browser's session: a signed-in person's, or one that may do nothing but use a link.
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  kind TEXT NOT NULL CHECK (kind IN ('person', 'link')),
  user_id TEXT,
  user_name TEXT,
  link_id TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE sign_in_links (
  token_hash TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  user_id TEXT NOT NULL,
  user_name TEXT,
  expires_at INTEGER NOT NULL,
  used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_links_by_expiry ON sign_in_links (expires_at);

CREATE TABLE uses (
  connection_id TEXT NOT NULL,
  workflow TEXT NOT NULL,
  step TEXT NOT NULL,
  workspace_id TEXT NOT NULL,
  first_used_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,
  active_days INTEGER NOT NULL,
  PRIMARY KEY (connection_id, workflow, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  workspace_id TEXT NOT NULL,
  connection_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  actor TEXT NOT NULL,
  detail TEXT,
  PRIMARY KEY (workspace_id, connection_id, at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_age ON events (at);

-- Revocations that an app has not confirmed yet, kept sealed for a day.
CREATE TABLE revocations (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL,
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  client TEXT NOT NULL,
  account_id TEXT,
  sealed_tokens TEXT NOT NULL,
  failures INTEGER NOT NULL,
  next_attempt_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_due ON revocations (next_attempt_at);

-- One sealed constant per key id: tells wrong bytes under a known id before they do harm.
CREATE TABLE key_checks (
  key_id TEXT PRIMARY KEY,
  sealed TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cron_runs (
  name TEXT PRIMARY KEY,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  summary TEXT
) STRICT, WITHOUT ROWID;
