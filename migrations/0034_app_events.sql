-- Events that apps send are received: what they are verified with is kept with the OAuth client.
--
-- Adds a column that may be NULL, a table and an index. The previous version receives no events, and keeps the column as it is.

-- What an app's events are verified with, sealed: one secret or several, a line each. NULL: none is set.
ALTER TABLE oauth_clients ADD COLUMN sealed_event_secret TEXT;

-- Events whose time of sending is not signed, so that a second request with the same one is known as a replay.
CREATE TABLE seen_app_events (
  oauth_client TEXT NOT NULL,
  -- A hash of what is signed, or of the event's id.
  event_hash TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (oauth_client, event_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_app_events_by_time ON seen_app_events (seen_at);

-- Some apps name an account in an event by its address alone, which is the label here.
CREATE INDEX connections_by_label ON connections (workspace_id, app, account_label)
  WHERE account_label IS NOT NULL AND deleted_at IS NULL;
