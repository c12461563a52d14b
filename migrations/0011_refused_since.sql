-- An app that refuses to renew a connection, without a word that ends it: since when, and its own error code.
ALTER TABLE connections ADD COLUMN refused_since INTEGER;
ALTER TABLE connections ADD COLUMN refused_code TEXT;

-- Tokens that are made of what was entered and whose life nobody told counted as good for ever. They count for 15 minutes, as new ones do.
UPDATE connections SET expires_at = coalesce(refreshed_at, connected_at) + 900
  WHERE kind IN ('client_credentials', 'service_account') AND refreshable AND expires_at IS NULL AND deleted_at IS NULL;
