-- What an e-mail of unknown fate said comes again in the person's next digest, which lists first what needs a person. The trigger
-- of 0038 kept the first hundred of both, in the order in which they were added.
--
-- And the operator's status shows the last failure of all workspaces.
--
-- Replaces a trigger, and adds an index. The previous version works with them.

DROP TRIGGER unknown_emails_are_told_again;
CREATE TRIGGER unknown_emails_are_told_again AFTER UPDATE OF status ON emails
WHEN NEW.status = 'unknown' AND OLD.status = 'sending'
  AND NOT EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  INSERT INTO emails (id, workspace_id, user_id, kind, events, event_count, created_at, status, due_at)
    VALUES ('eml_' || lower(hex(randomblob(11))), NEW.workspace_id, NEW.user_id, 'digest', NEW.events, NEW.event_count, NEW.claimed_until,
      'waiting', (NEW.claimed_until - 25200 + 86400) / 86400 * 86400 + 25200)
    ON CONFLICT (workspace_id, user_id) WHERE kind = 'digest' AND status = 'waiting' AND attempts = 0 DO UPDATE SET
      event_count = event_count + excluded.event_count,
      -- The order of `listed_events!` in src/store/emails.rs. Types that are not in this list need a person.
      events = (SELECT json_group_array(value) FROM (SELECT bounded.value FROM (SELECT value FROM json_each(emails.events)
          UNION ALL SELECT value FROM json_each(excluded.events)) bounded LEFT JOIN outbox o ON o.id = bounded.value
        ORDER BY coalesce(o.type, '') IN ('connection.created', 'connection.recovered', 'connection.account_changed',
          'connection.default_changed', 'connection.deleted'), o.occurred_at, bounded.value LIMIT 100));
END;

CREATE INDEX subscriptions_failed_by_email ON subscriptions (last_failed_at) WHERE channel = 'email' AND last_failed_at IS NOT NULL;
