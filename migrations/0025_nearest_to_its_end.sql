-- A scheduled run finds the connections whose refresh token ends soon before all others that are due.
--
-- Adds an index: the previous version works with it.

-- The time from which a connection is both due and within three days of its refresh token's end. What is searched up to
-- now is due, whatever else is not.
CREATE INDEX connections_ending ON connections (max(next_check_at,
    min(coalesce(refresh_expires_at, refresh_idle_until), coalesce(refresh_idle_until, refresh_expires_at)) - 259200))
  WHERE next_check_at IS NOT NULL AND refreshable = 1 AND coalesce(refresh_expires_at, refresh_idle_until) IS NOT NULL;
