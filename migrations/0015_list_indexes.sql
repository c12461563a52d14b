-- Lists of connections find what a filter selects without reading the whole workspace, and a disconnect finds the
-- connections that were made before their app's definition changed.
--
-- Adds indexes only: the previous version works with them.

CREATE INDEX connections_by_app ON connections (workspace_id, app, created_at, id) WHERE deleted_at IS NULL;
-- Most connections are connected. The others are few, and they are searched for most.
CREATE INDEX connections_by_status ON connections (workspace_id, status, created_at, id)
  WHERE deleted_at IS NULL AND status <> 'connected';
-- A connection whose two lists are the same text lacks no scope.
CREATE INDEX connections_with_other_scopes ON connections (workspace_id, created_at, id)
  WHERE deleted_at IS NULL AND scopes_granted <> scopes_requested;
CREATE INDEX uses_by_workflow ON uses (workspace_id, workflow, connection_id);
