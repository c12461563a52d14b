-- What happens is told by e-mail, too, where the workspace wants that: its row of subscriptions has the channel 'email'. And a
-- disconnect that can be undone is told when it is final.
--
-- Adds columns that may be NULL, a table, indexes and triggers, and replaces a trigger. The previous version works with them: it
-- sends no e-mail, and of a disconnect that can be undone it tells at once, as before.

-- The address that somebody has vouched for: the embedding product, an admin, or an identity provider.
ALTER TABLE people ADD COLUMN email TEXT;
-- What the person wants to get: 'urgent' or 'none'. NULL: everything.
ALTER TABLE people ADD COLUMN email_preference TEXT;
-- The address comes into force when the link is used.
ALTER TABLE sign_in_links ADD COLUMN user_email TEXT;

-- Of e-mail: when it last worked, and when and why it last failed.
ALTER TABLE subscriptions ADD COLUMN last_sent_at INTEGER;
ALTER TABLE subscriptions ADD COLUMN last_failed_at INTEGER;
ALTER TABLE subscriptions ADD COLUMN last_error TEXT;
CREATE UNIQUE INDEX subscriptions_by_email ON subscriptions (workspace_id) WHERE channel = 'email';
CREATE INDEX subscriptions_due_by_email ON subscriptions (due_at) WHERE channel = 'email' AND due_at IS NOT NULL;

-- E-mails to one person each. Neither addresses nor texts are kept: an e-mail is written when it is sent.
CREATE TABLE emails (
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  -- 'urgent', or 'digest': what else has happened since the last one.
  kind TEXT NOT NULL,
  -- What it tells: ids of the outbox, as a list in JSON; and how many there are, also those that are not in the list.
  events TEXT NOT NULL,
  event_count INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  -- 'waiting', 'sending', 'sent', 'failed', 'dropped' (there was nothing left to tell), or 'unknown': whoever sent it did not
  -- come back. It is not sent again, because it may have arrived.
  status TEXT NOT NULL,
  -- When it is sent. NULL: somebody sends it, or it is over.
  due_at INTEGER,
  -- Who sends it, and until when.
  claim_id TEXT,
  claimed_until INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  -- Why it was not sent.
  error TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX emails_due ON emails (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX emails_being_sent ON emails (claimed_until) WHERE status = 'sending';
CREATE INDEX emails_by_person ON emails (workspace_id, user_id);
CREATE INDEX emails_by_age ON emails (created_at);
-- The digest that the next events go into. One that was tried is not changed any more.
CREATE UNIQUE INDEX emails_open_digests ON emails (workspace_id, user_id) WHERE kind = 'digest' AND status = 'waiting' AND attempts = 0;

CREATE TRIGGER emails_need_a_workspace BEFORE INSERT ON emails
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER removed_people_have_no_emails AFTER DELETE ON people
BEGIN
  DELETE FROM emails WHERE workspace_id = OLD.workspace_id AND user_id = OLD.user_id;
END;
-- What an e-mail of unknown fate said comes again in the person's next digest, at 7:00 UTC.
CREATE TRIGGER unknown_emails_are_told_again AFTER UPDATE OF status ON emails
WHEN NEW.status = 'unknown' AND OLD.status = 'sending'
  AND NOT EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  INSERT INTO emails (id, workspace_id, user_id, kind, events, event_count, created_at, status, due_at)
    VALUES ('eml_' || lower(hex(randomblob(11))), NEW.workspace_id, NEW.user_id, 'digest', NEW.events, NEW.event_count, NEW.claimed_until,
      'waiting', (NEW.claimed_until - 25200 + 86400) / 86400 * 86400 + 25200)
    ON CONFLICT (workspace_id, user_id) WHERE kind = 'digest' AND status = 'waiting' AND attempts = 0 DO UPDATE SET
      event_count = event_count + excluded.event_count,
      events = (SELECT json_group_array(value) FROM (SELECT value FROM json_each(emails.events)
        UNION ALL SELECT value FROM json_each(excluded.events) LIMIT 100));
END;

-- The receiver of a webhook has failed: people are told, not another webhook. Its path may hold a secret, so only its host is.
CREATE TRIGGER disabled_webhooks_are_told AFTER UPDATE OF disabled_at ON subscriptions
WHEN NEW.disabled_at IS NOT NULL AND OLD.disabled_at IS NULL AND NEW.channel = 'webhook' AND NEW.disabled_reason <> 'caller'
BEGIN
  INSERT INTO outbox (id, workspace_id, type, occurred_at, target, name, detail)
    SELECT 'evt_' || CASE length(NEW.workspace_id) WHEN 27 THEN substr(NEW.workspace_id, 4, 2) ELSE '' END || lower(hex(randomblob(11))),
      NEW.workspace_id, 'webhook.disabled', NEW.disabled_at, NEW.id, substr(u.rest, 1, instr(u.rest || '/', '/') - 1), NEW.disabled_reason
    FROM (SELECT replace(substr(NEW.url, instr(NEW.url, '://') + 3), '?', '/') AS rest) u
    WHERE EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = NEW.workspace_id AND s.channel = 'email' AND s.disabled_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = NEW.workspace_id AND w.deleted_at IS NOT NULL);
END;

-- As in 0033, but for a disconnect that may still be undone: it is told by the line about its end.
DROP TRIGGER events_are_told;
CREATE TRIGGER events_are_told AFTER INSERT ON events
WHEN NEW.type IN ('connected', 'confirmed', 'needs_reconnect', 'account_switched', 'default_changed', 'disconnected')
  AND NOT (NEW.type = 'disconnected' AND NEW.detail IS 'pending')
  AND EXISTS (SELECT 1 FROM subscriptions WHERE workspace_id = NEW.workspace_id)
  AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = NEW.workspace_id AND w.deleted_at IS NOT NULL)
BEGIN
  INSERT OR IGNORE INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, environment, user_id, detail,
      is_held, workflow_count, workflows)
    SELECT NEW.id, NEW.workspace_id, t.type, NEW.occurred_at, NEW.connection_id, coalesce(NEW.app, c.app), coalesce(NEW.connection_name, c.name), c.environment,
      c.user_id, NEW.detail, t.type = 'connection.needs_reconnect',
      (SELECT count(DISTINCT u.workflow) FROM uses u WHERE u.connection_id IN (SELECT NEW.connection_id
        UNION ALL SELECT substr(NEW.detail, instr(NEW.detail, 'instead of con_') + 11) WHERE NEW.type = 'default_changed'
        UNION ALL SELECT * FROM (SELECT connection_id FROM replacements WHERE replaced_by = NEW.connection_id LIMIT 50))
        AND +u.workspace_id = NEW.workspace_id),
      (SELECT json_group_array(workflow) FROM (SELECT DISTINCT u.workflow FROM uses u WHERE u.connection_id IN (SELECT NEW.connection_id
        UNION ALL SELECT substr(NEW.detail, instr(NEW.detail, 'instead of con_') + 11) WHERE NEW.type = 'default_changed'
        UNION ALL SELECT * FROM (SELECT connection_id FROM replacements WHERE replaced_by = NEW.connection_id LIMIT 50))
        AND +u.workspace_id = NEW.workspace_id ORDER BY u.workflow LIMIT 20))
    FROM (SELECT CASE NEW.type WHEN 'connected' THEN 'connection.created' WHEN 'confirmed' THEN 'connection.created'
        WHEN 'needs_reconnect' THEN 'connection.needs_reconnect' WHEN 'account_switched' THEN 'connection.account_changed'
        WHEN 'default_changed' THEN 'connection.default_changed' ELSE 'connection.deleted' END AS type) t
      CROSS JOIN connections c
    WHERE c.id = NEW.connection_id AND c.is_unconfirmed IS NULL
      AND EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = NEW.workspace_id AND s.disabled_at IS NULL
        AND (instr(s.types, '"' || t.type || '"') > 0
          OR t.type = 'connection.needs_reconnect' AND instr(s.types, '"connection.recovered"') > 0))
      AND (t.type <> 'connection.needs_reconnect'
        OR NOT EXISTS (SELECT 1 FROM told_states WHERE subject = NEW.connection_id AND type = 'connection.needs_reconnect'));
END;
