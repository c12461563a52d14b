-- Some apps send the secret themselves that their events are signed with.
--
-- Adds a column that may be NULL. The previous version leaves it as it is.

-- When the app sent the last one of the event secrets. NULL: it did not, or they were entered since.
ALTER TABLE oauth_clients ADD COLUMN event_secret_received_at INTEGER;
