-- What an app made of a client, for a while: whoever tests the client again soon gets the same answer.
CREATE TABLE client_tests (
  client TEXT NOT NULL,
  -- A hash of what was tested: the definition, the client's last change, the variables.
  tested TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  -- How long the answer counts, in seconds.
  counts_for INTEGER NOT NULL,
  -- The answer as JSON; none while the app is being asked.
  result TEXT,
  PRIMARY KEY (client, tested)
) STRICT, WITHOUT ROWID;
CREATE INDEX client_tests_by_age ON client_tests (started_at);

-- When a revision of an app stopped being the current one. Revisions from before have none: they count as old.
ALTER TABLE apps ADD COLUMN retired_at INTEGER;

-- Each of these finds what pins a revision, or counts what is limited, without reading the rows themselves.
CREATE INDEX apps_current ON apps (workspace_id) WHERE current = 1;
CREATE INDEX apps_retired ON apps (workspace_id, id, revision, retired_at, created_at) WHERE current = 0;
CREATE INDEX connections_by_revision ON connections (workspace_id, app, app_revision) WHERE app_revision > 0;
CREATE INDEX authorizations_by_revision ON authorizations (workspace_id, app, app_revision) WHERE app_revision > 0;
CREATE INDEX revocations_by_revision ON revocations (workspace_id, app, app_revision) WHERE app_revision > 0;
CREATE INDEX links_open ON links (workspace_id, expires_at) WHERE status = 'open';
CREATE INDEX sign_in_links_by_user ON sign_in_links (workspace_id, user_id, expires_at) WHERE used_at IS NULL;
CREATE INDEX sessions_by_user ON sessions (workspace_id, user_id, created_at) WHERE user_id IS NOT NULL;
