-- maintenance: tables and columns get new names, and the tables with wide rows get a new form.
-- A version from before this migration can't work with the database while it is applied, nor afterwards.
-- docs/upgrade.md tells how `npm run deploy` applies it.
--
-- A row of more than about 1 KB takes an overflow page of its own in a table WITHOUT ROWID. In an ordinary table it does
-- not. Five tables have such rows: their rows are moved in the next migration, and until then neither form of the table
-- has the name that a program looks for.

-- The triggers are made again when all tables have their names.
DROP TRIGGER keys_need_a_workspace;
DROP TRIGGER sessions_need_a_workspace;
DROP TRIGGER sign_in_links_need_a_workspace;
DROP TRIGGER links_need_a_workspace;
DROP TRIGGER authorizations_need_a_workspace;
DROP TRIGGER connections_need_a_workspace;
DROP TRIGGER clients_need_a_workspace;
DROP TRIGGER apps_need_a_workspace;
DROP TRIGGER uses_need_a_connection;

-- API keys.
ALTER TABLE keys RENAME TO api_keys;
ALTER TABLE api_keys RENAME COLUMN hash TO secret_hash;
ALTER TABLE api_keys RENAME COLUMN previous_hash TO previous_secret_hash;
ALTER TABLE api_keys RENAME COLUMN previous_until TO previous_secret_expires_at;
ALTER TABLE api_keys RENAME COLUMN connections TO allowed_connections;
ALTER TABLE api_keys RENAME COLUMN apps TO allowed_apps;
ALTER TABLE api_keys RENAME COLUMN made_by TO created_by_key;
DROP INDEX keys_revoked;
DROP INDEX keys_by_workspace;
DROP INDEX keys_by_maker;
CREATE INDEX api_keys_revoked ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, id);
CREATE INDEX api_keys_by_creator ON api_keys (created_by_key) WHERE created_by_key IS NOT NULL;

-- Connect links.
ALTER TABLE links RENAME TO connect_links;
ALTER TABLE connect_links RENAME COLUMN way TO auth_method;
ALTER TABLE connect_links RENAME COLUMN confirm TO requires_confirmation;
ALTER TABLE connect_links RENAME COLUMN result_connection TO result_connection_id;
ALTER TABLE connect_links RENAME COLUMN authorization_id TO flow_id;
ALTER TABLE connect_links RENAME COLUMN made_by TO created_by_key;
DROP INDEX links_by_expiry;
DROP INDEX links_by_workspace;
DROP INDEX links_by_maker;
DROP INDEX links_open;
CREATE INDEX connect_links_by_expiry ON connect_links (expires_at);
CREATE INDEX connect_links_by_workspace ON connect_links (workspace_id, created_at, id);
CREATE INDEX connect_links_by_creator ON connect_links (created_by_key) WHERE created_by_key IS NOT NULL;
CREATE INDEX connect_links_open ON connect_links (workspace_id, expires_at) WHERE status = 'open';

-- Sessions and sign-in links.
ALTER TABLE sessions RENAME COLUMN hash TO token_hash;
ALTER TABLE sessions RENAME COLUMN kind TO session_type;
ALTER TABLE sessions RENAME COLUMN made_by TO created_by_key;
DROP INDEX sessions_by_maker;
CREATE INDEX sessions_by_creator ON sessions (created_by_key) WHERE created_by_key IS NOT NULL;
ALTER TABLE sign_in_links RENAME COLUMN made_by TO created_by_key;
DROP INDEX sign_in_links_by_maker;
CREATE INDEX sign_in_links_by_creator ON sign_in_links (created_by_key) WHERE created_by_key IS NOT NULL;

-- The smaller ones.
ALTER TABLE workspaces RENAME COLUMN erase_after TO next_erasure_at;
ALTER TABLE events RENAME COLUMN at TO occurred_at;
ALTER TABLE client_tests RENAME COLUMN client TO oauth_client;
ALTER TABLE client_tests RENAME COLUMN tested TO input_hash;
ALTER TABLE client_tests RENAME COLUMN counts_for TO valid_for_seconds;
ALTER TABLE cache_deletes RENAME COLUMN name TO cache_key;
ALTER TABLE cache_deletes RENAME COLUMN noted_at TO created_at;
ALTER TABLE key_checks RENAME TO encryption_key_checks;
ALTER TABLE encryption_key_checks RENAME COLUMN sealed TO sealed_constant;
ALTER TABLE cron_runs RENAME TO scheduled_runs;
ALTER TABLE reseals RENAME TO reseal_progress;

-- The rows that are to be moved. Their indexes go first, so that a moved row costs less.
ALTER TABLE clients RENAME TO clients_before;
ALTER TABLE connections RENAME TO connections_before;
ALTER TABLE authorizations RENAME TO flows_before;
ALTER TABLE revocations RENAME TO revocations_before;
ALTER TABLE apps RENAME TO apps_before;
DROP INDEX connections_by_workspace;
DROP INDEX connections_by_account;
DROP INDEX connections_by_client;
DROP INDEX connections_due;
DROP INDEX connections_dead;
DROP INDEX connections_unconfirmed;
DROP INDEX connections_deleted;
DROP INDEX connections_by_revision;
DROP INDEX authorizations_by_expiry;
DROP INDEX authorizations_by_session;
DROP INDEX authorizations_by_workspace;
DROP INDEX authorizations_with_verifier;
DROP INDEX authorizations_with_grant;
DROP INDEX authorizations_by_revision;
DROP INDEX revocations_due;
DROP INDEX revocations_by_workspace;
DROP INDEX revocations_by_expiry;
DROP INDEX revocations_by_revision;
DROP INDEX apps_current;
DROP INDEX apps_retired;
DROP INDEX apps_moving;

-- A workspace's own apps: one row for each revision of a definition. A connection keeps the revision that it was made with.
CREATE TABLE apps_next (
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  is_current INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  -- When it stopped being the current revision. NULL in rows from before 0010: they count as old.
  retired_at INTEGER,
  -- When the next connections are moved to this revision. NULL when none is left.
  rollout_due_at INTEGER,
  -- The last connection that was looked at, as JSON: its revision and its id.
  rollout_cursor TEXT NOT NULL DEFAULT '[0,""]',
  -- How often all connections are looked at once more.
  rollout_passes_left INTEGER NOT NULL DEFAULT 0,
  definition TEXT NOT NULL,
  PRIMARY KEY (workspace_id, id, revision)
) STRICT;
CREATE INDEX apps_current ON apps_next (workspace_id) WHERE is_current = 1;
CREATE INDEX apps_retired ON apps_next (workspace_id, id, revision, retired_at, created_at) WHERE is_current = 0;
CREATE INDEX apps_rollout_due ON apps_next (rollout_due_at) WHERE rollout_due_at IS NOT NULL;

-- OAuth clients: a workspace's registrations at apps.
CREATE TABLE oauth_clients_next (
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  -- An app's id, or the family of apps that share a client. Where an app has several auth methods, the method follows
  -- behind a colon.
  registration TEXT NOT NULL,
  -- The client id that the app gave (RFC 6749, 2.2).
  client_id TEXT NOT NULL,
  -- The redirect URI is /oauth/callback/{redirect_id}.
  redirect_id TEXT NOT NULL,
  -- The authorization server that it was set up for. NULL in rows from before 0007.
  authorization_server TEXT,
  -- New flows use it: at most one for each registration.
  is_current INTEGER NOT NULL,
  scopes TEXT,
  secret_expires_at INTEGER,
  -- Since when the app refuses the client, and with which error code.
  misconfigured_at INTEGER,
  misconfigured_error TEXT,
  backoff_until INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  -- Values that the app's addresses depend on: JSON.
  variables TEXT NOT NULL DEFAULT '{}',
  -- Where the secret may be sent: JSON. NULL for an app of the catalogue, and in rows from before 0007.
  destinations TEXT,
  -- Only in rows from before 0007: the hosts that the secret was entered for.
  legacy_hosts TEXT NOT NULL DEFAULT '[]',
  sealed_secret TEXT,
  UNIQUE (workspace_id, registration, client_id, redirect_id)
) STRICT;

-- Connections. Two groups of columns change independently: what a person edits (name, metadata, policy), and the
-- credential with its status, which every write compares by `generation` and `version`.
CREATE TABLE connections_next (
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  -- The auth method that it was made by, and the type of credential that the method gives.
  auth_method TEXT NOT NULL DEFAULT 'oauth2',
  credential_type TEXT NOT NULL DEFAULT 'oauth2',
  -- The row of oauth_clients. NULL where a person entered the credential.
  oauth_client TEXT REFERENCES oauth_clients_next (id),
  name TEXT NOT NULL,
  user_id TEXT,
  user_name TEXT,
  account_id TEXT,
  account_label TEXT,
  created_at INTEGER NOT NULL,
  connected_at INTEGER NOT NULL,
  last_used_at INTEGER,
  -- It was disconnected. The row stays until the grant is revoked at the app.
  deleted_at INTEGER,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('connected', 'awaiting_confirmation', 'needs_reconnect')),
  -- Why it needs a reconnect.
  reconnect_reason TEXT,
  expires_at INTEGER,
  refreshable INTEGER NOT NULL,
  refreshed_at INTEGER,
  refresh_expires_at INTEGER,
  -- When the refresh token ends if nobody uses it until then.
  refresh_idle_until INTEGER,
  -- When the whole grant ends, however often it is refreshed.
  grant_expires_at INTEGER,
  -- The lease of a refresh: the attempt that has it, its end, and the hash of the refresh token that is sent.
  lease_attempt_id TEXT,
  lease_expires_at INTEGER,
  lease_token_hash TEXT,
  -- The last attempt whose tokens were stored.
  last_attempt_id TEXT,
  -- The hash of a refresh token that was sent without a readable answer, and when it was first sent.
  ambiguous_token_hash TEXT,
  ambiguous_since INTEGER,
  -- No refresh before this time.
  next_attempt_at INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  -- The app refuses to refresh, without an error that ends the grant: since when, and its error code.
  refresh_refused_since INTEGER,
  refresh_refused_code TEXT,
  -- The scheduled check: the last one, what it saw, and when the next one is due.
  checked_at INTEGER,
  check_evidence TEXT,
  next_check_at INTEGER,
  -- What the person is told where the credential works and has access to nothing.
  no_resources_message TEXT,
  -- Why it stays with an earlier revision of the app's definition: JSON.
  definition_update_blocked TEXT,
  metadata TEXT NOT NULL DEFAULT '{}',
  allowed_workflows TEXT,
  scopes_requested TEXT NOT NULL,
  scopes_granted TEXT NOT NULL,
  variables TEXT NOT NULL DEFAULT '{}',
  -- Where the credential may be sent: JSON. NULL for an app of the catalogue, and in rows from before 0007.
  destinations TEXT,
  sealed_credential TEXT
) STRICT;
CREATE INDEX connections_by_workspace ON connections_next (workspace_id, created_at, id);
CREATE INDEX connections_by_user ON connections_next (workspace_id, user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX connections_by_name ON connections_next (workspace_id, app, name) WHERE deleted_at IS NULL;
CREATE INDEX connections_by_account ON connections_next (workspace_id, app, account_id, user_id)
  WHERE account_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX connections_by_oauth_client ON connections_next (oauth_client, account_id);
CREATE INDEX connections_by_revision ON connections_next (workspace_id, app, app_revision, id) WHERE app_revision > 0;
CREATE INDEX connections_backing_off ON connections_next (oauth_client) WHERE next_attempt_at > 0;
CREATE INDEX connections_due ON connections_next (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX connections_unconfirmed ON connections_next (created_at) WHERE status = 'awaiting_confirmation';
CREATE INDEX connections_deleted ON connections_next (deleted_at) WHERE deleted_at IS NOT NULL;
-- Credentials that can't be used any more. They are erased after a week.
CREATE INDEX connections_unusable ON connections_next (checked_at)
  WHERE reconnect_reason IS NOT NULL AND sealed_credential IS NOT NULL;

-- Flows: one pending consent, from start to callback. `state_hash` and `session_hash` are SHA-256.
CREATE TABLE flows_next (
  id TEXT PRIMARY KEY NOT NULL,
  state_hash TEXT NOT NULL UNIQUE,
  session_hash TEXT NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  auth_method TEXT NOT NULL DEFAULT 'oauth2',
  -- The row of oauth_clients. NULL where a person enters the credential.
  oauth_client TEXT,
  connection_id TEXT,
  generation INTEGER,
  link_id TEXT,
  user_id TEXT,
  user_name TEXT,
  scopes TEXT NOT NULL,
  -- The issuer that the answer must name, and whether it must name one (RFC 9207).
  issuer TEXT,
  iss_required INTEGER NOT NULL,
  return_to TEXT,
  -- pending, denied, failed, undecided, awaiting_confirmation, done, discarded
  status TEXT NOT NULL,
  error TEXT,
  used_at INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  variables TEXT NOT NULL DEFAULT '{}',
  destinations TEXT,
  -- A grant that waits for a decision: what of it is not secret, and what it collides with, as JSON; and the sealed rest.
  pending_grant TEXT,
  sealed_verifier TEXT,
  sealed_grant TEXT
) STRICT;
CREATE INDEX flows_by_expiry ON flows_next (expires_at);
CREATE INDEX flows_by_session ON flows_next (session_hash, created_at, id);
CREATE INDEX flows_by_workspace ON flows_next (workspace_id);
CREATE INDEX flows_with_verifier ON flows_next (expires_at) WHERE sealed_verifier IS NOT NULL;
CREATE INDEX flows_with_grant ON flows_next (expires_at) WHERE sealed_grant IS NOT NULL;
CREATE INDEX flows_by_revision ON flows_next (workspace_id, app, app_revision) WHERE app_revision > 0;

-- Revocations that an app has not confirmed yet. They are kept for a day.
CREATE TABLE revocations_next (
  -- The id of the connection that was disconnected.
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL,
  app TEXT NOT NULL,
  app_revision INTEGER NOT NULL,
  auth_method TEXT NOT NULL DEFAULT 'oauth2',
  oauth_client TEXT,
  account_id TEXT,
  failures INTEGER NOT NULL,
  next_attempt_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  variables TEXT NOT NULL DEFAULT '{}',
  destinations TEXT,
  sealed_tokens TEXT NOT NULL
) STRICT;
CREATE INDEX revocations_due ON revocations_next (next_attempt_at);
CREATE INDEX revocations_by_workspace ON revocations_next (workspace_id);
CREATE INDEX revocations_by_expiry ON revocations_next (expires_at);
CREATE INDEX revocations_by_revision ON revocations_next (workspace_id, app, app_revision) WHERE app_revision > 0;
CREATE INDEX revocations_by_oauth_client ON revocations_next (oauth_client) WHERE oauth_client IS NOT NULL;
