-- What is urgent is sent before the digests, which are all due at the same hour.
--
-- Adds an index. The previous version does not use it.

CREATE INDEX emails_due_by_kind ON emails (kind, due_at) WHERE due_at IS NOT NULL;
