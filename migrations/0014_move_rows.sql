-- maintenance: moves the rows of the five tables that 0013 made anew, and gives the tables their names.
--
-- Each part between `-- repeat` and `-- end` moves as many rows as there are. Where there are many, `npm run deploy` runs the
-- parts before this migration: with a number in the place of `LIMIT -1`, again and again, until `remaining` is 0. Then
-- nothing is left for this migration to move. A part that was stopped in between can begin again: a row is deleted only
-- when its copy is there.

-- Copied, not moved: until connections_before is empty, its rows refer to clients_before.
-- repeat: clients_before
INSERT INTO oauth_clients_next (id, workspace_id, registration, client_id, redirect_id, authorization_server, is_current, scopes,
    secret_expires_at, misconfigured_at, misconfigured_error, backoff_until, failures, created_at, updated_at, variables,
    destinations, legacy_hosts, sealed_secret)
  SELECT id, workspace_id, registration, client_id, redirect_id, server, current, scopes,
    secret_expires_at, misconfigured_at, misconfigured_error, backoff_until, failures, created_at, updated_at, variables,
    destinations, hosts, sealed_secret
  FROM clients_before WHERE id > coalesce((SELECT max(id) FROM oauth_clients_next), '') ORDER BY id LIMIT -1;
SELECT EXISTS (SELECT 1 FROM clients_before WHERE id > coalesce((SELECT max(id) FROM oauth_clients_next), '')) AS remaining;
-- end

-- repeat: connections_before
INSERT INTO connections_next (id, workspace_id, app, app_revision, auth_method, credential_type, oauth_client, name, user_id,
    user_name, account_id, account_label, created_at, connected_at, last_used_at, deleted_at, generation, version, status,
    reconnect_reason, expires_at, refreshable, refreshed_at, refresh_expires_at, refresh_idle_until, grant_expires_at,
    lease_attempt_id, lease_expires_at, lease_token_hash, last_attempt_id, ambiguous_token_hash, ambiguous_since,
    next_attempt_at, failures, last_error, refresh_refused_since, refresh_refused_code, checked_at, check_evidence,
    next_check_at, no_resources_message, definition_update_blocked, metadata, allowed_workflows, scopes_requested,
    scopes_granted, variables, destinations, sealed_credential)
  SELECT id, workspace_id, app, app_revision, way, kind, client, name, user_id,
    user_name, account_id, account_label, created_at, connected_at, last_used_at, deleted_at, generation, version, status,
    reason, expires_at, refreshable, refreshed_at, refresh_expires_at, refresh_idle_until, grant_expires_at,
    attempt_id, attempt_until, attempt_token_hash, last_attempt_id, ambiguous_token_hash, ambiguous_since,
    next_attempt_at, failures, last_error, refused_since, refused_code, checked_at, check_evidence,
    next_check_at, nothing_shared, definition_changed, metadata, allowed_workflows, scopes_requested,
    scopes_granted, variables, destinations, sealed_credential
  FROM connections_before WHERE true ORDER BY id LIMIT -1
  ON CONFLICT (id) DO NOTHING;
DELETE FROM connections_before WHERE id IN (SELECT id FROM connections_before ORDER BY id LIMIT -1)
  AND EXISTS (SELECT 1 FROM connections_next n WHERE n.id = connections_before.id);
SELECT EXISTS (SELECT 1 FROM connections_before) AS remaining;
-- end

-- repeat: flows_before
INSERT INTO flows_next (id, state_hash, session_hash, workspace_id, app, app_revision, auth_method, oauth_client, connection_id,
    generation, link_id, user_id, user_name, scopes, issuer, iss_required, return_to, status, error, used_at, created_at,
    expires_at, variables, destinations, pending_grant, sealed_verifier, sealed_grant)
  SELECT id, state_hash, session_hash, workspace_id, app, app_revision, way, nullif(client, ''), connection_id,
    generation, link_id, user_id, user_name, scopes, issuer, iss_promised, return_to, outcome, error, used_at, created_at,
    expires_at, variables, destinations, pending, sealed_verifier, sealed_grant
  FROM flows_before WHERE true ORDER BY id LIMIT -1
  ON CONFLICT (id) DO NOTHING;
DELETE FROM flows_before WHERE id IN (SELECT id FROM flows_before ORDER BY id LIMIT -1)
  AND EXISTS (SELECT 1 FROM flows_next n WHERE n.id = flows_before.id);
SELECT EXISTS (SELECT 1 FROM flows_before) AS remaining;
-- end

-- repeat: revocations_before
INSERT INTO revocations_next (id, workspace_id, app, app_revision, auth_method, oauth_client, account_id, failures,
    next_attempt_at, expires_at, variables, destinations, sealed_tokens)
  SELECT id, workspace_id, app, app_revision, way, client, account_id, failures,
    next_attempt_at, expires_at, variables, destinations, sealed_tokens
  FROM revocations_before WHERE true ORDER BY id LIMIT -1
  ON CONFLICT (id) DO NOTHING;
DELETE FROM revocations_before WHERE id IN (SELECT id FROM revocations_before ORDER BY id LIMIT -1)
  AND EXISTS (SELECT 1 FROM revocations_next n WHERE n.id = revocations_before.id);
SELECT EXISTS (SELECT 1 FROM revocations_before) AS remaining;
-- end

-- repeat: apps_before
INSERT INTO apps_next (workspace_id, id, revision, is_current, created_at, retired_at, rollout_due_at, rollout_cursor,
    rollout_passes_left, definition)
  SELECT workspace_id, id, revision, current, created_at, retired_at, move_due, move_after, move_passes, definition
  FROM apps_before WHERE true ORDER BY workspace_id, id, revision LIMIT -1
  ON CONFLICT (workspace_id, id, revision) DO NOTHING;
DELETE FROM apps_before WHERE (workspace_id, id, revision) IN
    (SELECT workspace_id, id, revision FROM apps_before ORDER BY workspace_id, id, revision LIMIT -1)
  AND EXISTS (SELECT 1 FROM apps_next n
    WHERE n.workspace_id = apps_before.workspace_id AND n.id = apps_before.id AND n.revision = apps_before.revision);
SELECT EXISTS (SELECT 1 FROM apps_before) AS remaining;
-- end

DROP TABLE connections_before;
DROP TABLE flows_before;
DROP TABLE revocations_before;
DROP TABLE apps_before;
DROP TABLE clients_before;
ALTER TABLE oauth_clients_next RENAME TO oauth_clients;
ALTER TABLE connections_next RENAME TO connections;
ALTER TABLE flows_next RENAME TO flows;
ALTER TABLE revocations_next RENAME TO revocations;
ALTER TABLE apps_next RENAME TO apps;

-- Nothing is made in a deleted workspace any more: a request that was let in before the deletion fails here. The program
-- takes the text for that of a constraint.
CREATE TRIGGER api_keys_need_a_workspace BEFORE INSERT ON api_keys
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER sessions_need_a_workspace BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER sign_in_links_need_a_workspace BEFORE INSERT ON sign_in_links
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER connect_links_need_a_workspace BEFORE INSERT ON connect_links
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER flows_need_a_workspace BEFORE INSERT ON flows
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER connections_need_a_workspace BEFORE INSERT ON connections
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER oauth_clients_need_a_workspace BEFORE INSERT ON oauth_clients
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER apps_need_a_workspace BEFORE INSERT ON apps
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
-- A use is recorded after the answer. One that comes when its connection has ended would never be erased.
CREATE TRIGGER uses_need_a_connection BEFORE INSERT ON uses
WHEN NOT EXISTS (SELECT 1 FROM connections WHERE id = NEW.connection_id AND deleted_at IS NULL)
BEGIN
  SELECT RAISE(IGNORE);
END;
