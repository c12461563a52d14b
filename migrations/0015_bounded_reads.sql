-- Lists of connections find what a filter selects without reading the whole workspace, and a disconnect finds the
-- connections that were made before their app's definition changed.
--
-- Adds indexes, and columns that may be NULL: the previous version works with them.

CREATE INDEX connections_by_app ON connections (workspace_id, app, created_at, id) WHERE deleted_at IS NULL;
-- Most connections are connected. The others are few, and they are searched for most.
CREATE INDEX connections_by_status ON connections (workspace_id, status, created_at, id)
  WHERE deleted_at IS NULL AND status <> 'connected';
-- A connection whose two lists are the same text lacks no scope.
CREATE INDEX connections_with_other_scopes ON connections (workspace_id, created_at, id)
  WHERE deleted_at IS NULL AND scopes_granted <> scopes_requested;
CREATE INDEX uses_by_workflow ON uses (workspace_id, workflow, connection_id);

-- Connections whose grant ends with that of another one of the same client and account, if it is revoked at the app.
-- Without the status: a refresh and a check write it, and would write these entries too.
CREATE INDEX connections_with_live_grant ON connections (oauth_client, account_id)
  WHERE oauth_client IS NOT NULL AND deleted_at IS NULL;
-- The same for a workspace's own apps, by the time that tells the definition that the account's id was found with.
CREATE INDEX connections_with_custom_grant ON connections (oauth_client, app, connected_at)
  WHERE app_revision > 0 AND oauth_client IS NOT NULL AND deleted_at IS NULL;

-- How many workflows and steps used a connection. NULL until a use is recorded: then the rows of `uses` are counted.
ALTER TABLE connections ADD COLUMN used_by_workflows INTEGER;
ALTER TABLE connections ADD COLUMN used_by_steps INTEGER;
