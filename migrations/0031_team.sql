-- Branding of connect links, settings of identity providers that are told apart, turns of the jobs that end all connections of
-- an app, and the connect links of one person.
--
-- Adds columns that may be NULL or have a default, and indexes. The previous version works with them.

-- What the pages of connect links show of the workspace's product: JSON with `name`, `logo_url` and `accent`.
ALTER TABLE workspaces ADD COLUMN branding TEXT;

-- Another text each time the provider is put: two changes may have the same second.
ALTER TABLE identity_providers ADD COLUMN revision TEXT NOT NULL DEFAULT '';

-- When a run last took a step of it. The job whose turn is longest ago is next.
ALTER TABLE disconnect_jobs ADD COLUMN taken_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX disconnect_jobs_by_turn ON disconnect_jobs (taken_at) WHERE finished_at IS NULL;

-- What ends with a person.
CREATE INDEX connect_links_by_user ON connect_links (workspace_id, user_id) WHERE user_id IS NOT NULL;
