-- What happens in a workspace is sent to the addresses that it has named (webhooks).
--
-- Adds tables and triggers. The previous version works with them: what it changes is written to the outbox too, in the
-- transaction of the change, and sent by this version. A workspace without subscriptions writes nothing.

-- Who is told of what.
CREATE TABLE subscriptions (
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  -- 'webhook': events are sent to the url.
  channel TEXT NOT NULL,
  url TEXT,
  -- The types of events, as a list in JSON.
  types TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  -- When there is something to send. NULL: nothing.
  due_at INTEGER,
  -- The receiver has failed: nothing is sent until then.
  paused_until INTEGER NOT NULL DEFAULT 0,
  -- Failures since the last success, and when the first of them was.
  failures INTEGER NOT NULL DEFAULT 0,
  failing_since INTEGER,
  -- Switched off, and why: 'caller', 'failing', 'gone' or 'unreadable'.
  disabled_at INTEGER,
  disabled_reason TEXT,
  -- Until when each delivery is signed with the secret before, too.
  previous_secret_expires_at INTEGER,
  sealed_secret TEXT,
  sealed_previous_secret TEXT
) STRICT;
CREATE INDEX subscriptions_by_workspace ON subscriptions (workspace_id, id);
CREATE INDEX subscriptions_due ON subscriptions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX subscriptions_with_previous_secret ON subscriptions (previous_secret_expires_at) WHERE sealed_previous_secret IS NOT NULL;

-- What is told. The columns are as things were when it happened: the connection may be gone when it is sent.
CREATE TABLE outbox (
  -- That of the line of the audit log, if there is one.
  id TEXT PRIMARY KEY NOT NULL,
  workspace_id TEXT NOT NULL,
  type TEXT NOT NULL,
  occurred_at INTEGER NOT NULL,
  connection_id TEXT,
  -- The id of something else: an OAuth client.
  target TEXT,
  app TEXT,
  name TEXT,
  environment TEXT,
  user_id TEXT,
  -- A reason or a code.
  detail TEXT,
  -- When something ends.
  ends_at INTEGER,
  -- The first workflows concerned, as a list in JSON, and how many there are.
  workflows TEXT,
  workflow_count INTEGER,
  -- Connections concerned, up to 1,000.
  connection_count INTEGER,
  -- 1: the scheduled run tells it, if it is still so.
  is_held INTEGER NOT NULL DEFAULT 0,
  -- The event of an app, until it is delivered.
  sealed_payload TEXT
) STRICT;
CREATE INDEX outbox_by_age ON outbox (occurred_at);
CREATE INDEX outbox_by_workspace ON outbox (workspace_id);
CREATE INDEX outbox_held ON outbox (occurred_at) WHERE is_held = 1;
CREATE UNIQUE INDEX outbox_held_of_connection ON outbox (connection_id) WHERE is_held = 1;
-- A disconnect that is finished later has two lines in the audit log.
CREATE UNIQUE INDEX outbox_deleted_connection ON outbox (connection_id) WHERE type = 'connection.deleted';

-- One event for one subscription.
CREATE TABLE deliveries (
  event_id TEXT NOT NULL,
  subscription_id TEXT NOT NULL,
  -- pending, delivered or failed.
  status TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  -- NULL: it is over. While somebody sends it, the end of their lease.
  next_attempt_at INTEGER,
  lease_id TEXT,
  -- How often it was begun to be sent.
  attempts INTEGER NOT NULL DEFAULT 0,
  -- Attempts since the event, or since somebody had it sent again: they decide on the next pause.
  tries INTEGER NOT NULL DEFAULT 0,
  last_attempt_at INTEGER,
  last_status INTEGER,
  last_error TEXT,
  PRIMARY KEY (event_id, subscription_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (subscription_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id, created_at, event_id);

-- What was told of something, so that it is told once: of a connection (needs_reconnect until it recovers; an end by its
-- date), of a client.
CREATE TABLE told_states (
  subject TEXT NOT NULL,
  type TEXT NOT NULL,
  workspace_id TEXT NOT NULL,
  -- Which one: the date of an end, the scopes that are missing.
  marker TEXT NOT NULL,
  told_at INTEGER NOT NULL,
  PRIMARY KEY (subject, type)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_states_by_workspace ON told_states (workspace_id);

-- How far a workspace was searched for what ends soon.
CREATE TABLE attention_sweeps (
  workspace_id TEXT PRIMARY KEY NOT NULL REFERENCES workspaces (id),
  due_at INTEGER NOT NULL,
  -- The connection that was looked at last: when it was made, and its id.
  after_created_at INTEGER NOT NULL DEFAULT -1,
  after_id TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX attention_sweeps_due ON attention_sweeps (due_at);

CREATE TRIGGER subscriptions_need_a_workspace BEFORE INSERT ON subscriptions
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER outbox_need_a_workspace BEFORE INSERT ON outbox
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER told_states_need_a_workspace BEFORE INSERT ON told_states
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER attention_sweeps_need_a_workspace BEFORE INSERT ON attention_sweeps
WHEN EXISTS (SELECT 1 FROM workspaces WHERE id = NEW.workspace_id AND deleted_at IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'constraint failed: the workspace was deleted');
END;
CREATE TRIGGER subscriptions_are_swept AFTER INSERT ON subscriptions
BEGIN
  INSERT OR IGNORE INTO attention_sweeps (workspace_id, due_at) VALUES (NEW.workspace_id, NEW.created_at);
END;
CREATE TRIGGER ended_subscriptions_are_not_swept AFTER DELETE ON subscriptions
WHEN NOT EXISTS (SELECT 1 FROM subscriptions WHERE workspace_id = OLD.workspace_id)
BEGIN
  DELETE FROM attention_sweeps WHERE workspace_id = OLD.workspace_id;
END;

-- Lines of the audit log are told. A subscription's types are compared with their quotation marks.
CREATE TRIGGER events_are_told AFTER INSERT ON events
WHEN NEW.type IN ('connected', 'confirmed', 'needs_reconnect', 'account_switched', 'default_changed', 'disconnected')
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

-- What was told to be broken works again. A refresh assigns the status: only a change of it gets further than this condition.
CREATE TRIGGER recovered_connections_are_told AFTER UPDATE OF status ON connections
WHEN NEW.status = 'connected' AND OLD.status <> 'connected'
BEGIN
  INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, environment, user_id, workflow_count, workflows)
    SELECT 'evt_' || CASE length(NEW.workspace_id) WHEN 27 THEN substr(NEW.workspace_id, 4, 2) ELSE '' END || lower(hex(randomblob(11))),
      NEW.workspace_id, 'connection.recovered', max(coalesce(NEW.checked_at, 0), NEW.connected_at, n.told_at), NEW.id, NEW.app, NEW.name,
      NEW.environment, NEW.user_id,
      (SELECT count(DISTINCT u.workflow) FROM uses u WHERE u.connection_id IN (SELECT NEW.id
        UNION ALL SELECT * FROM (SELECT connection_id FROM replacements WHERE replaced_by = NEW.id LIMIT 50))),
      (SELECT json_group_array(workflow) FROM (SELECT DISTINCT u.workflow FROM uses u WHERE u.connection_id IN (SELECT NEW.id
        UNION ALL SELECT * FROM (SELECT connection_id FROM replacements WHERE replaced_by = NEW.id LIMIT 50)) ORDER BY u.workflow LIMIT 20))
    FROM told_states n WHERE n.subject = NEW.id AND n.type = 'connection.needs_reconnect' AND NEW.deleted_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = NEW.workspace_id AND w.deleted_at IS NOT NULL)
      AND EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = NEW.workspace_id AND s.disabled_at IS NULL
        AND instr(s.types, '"connection.recovered"') > 0);
  DELETE FROM told_states WHERE subject = NEW.id AND type = 'connection.needs_reconnect';
  DELETE FROM outbox WHERE connection_id = NEW.id AND is_held = 1;
END;

CREATE TRIGGER misconfigured_clients_are_told AFTER UPDATE OF misconfigured_at ON oauth_clients
WHEN NEW.misconfigured_at IS NOT NULL AND OLD.misconfigured_at IS NULL
BEGIN
  INSERT INTO outbox (id, workspace_id, type, occurred_at, target, app, detail, connection_count, workflow_count, workflows)
    SELECT 'evt_' || CASE length(NEW.workspace_id) WHEN 27 THEN substr(NEW.workspace_id, 4, 2) ELSE '' END || lower(hex(randomblob(11))),
      NEW.workspace_id, 'client.misconfigured', NEW.misconfigured_at, NEW.id, NEW.registration, NEW.misconfigured_error,
      (SELECT count(*) FROM (SELECT 1 FROM connections WHERE oauth_client = NEW.id LIMIT 1000)),
      (SELECT count(DISTINCT workflow) FROM (SELECT u.workflow FROM (SELECT id FROM connections WHERE oauth_client = NEW.id LIMIT 1000) c
        CROSS JOIN uses u WHERE u.connection_id = c.id LIMIT 1000)),
      (SELECT json_group_array(workflow) FROM (SELECT DISTINCT workflow FROM (SELECT u.workflow
        FROM (SELECT id FROM connections WHERE oauth_client = NEW.id LIMIT 1000) c CROSS JOIN uses u WHERE u.connection_id = c.id LIMIT 1000)
        ORDER BY workflow LIMIT 20))
    WHERE EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = NEW.workspace_id AND s.disabled_at IS NULL
      AND instr(s.types, '"client.misconfigured"') > 0)
      AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = NEW.workspace_id AND w.deleted_at IS NOT NULL);
END;

-- An event that is told gets a delivery for each subscription. A test is for one of them alone.
CREATE TRIGGER told_events_are_delivered AFTER INSERT ON outbox
WHEN NEW.is_held = 0 AND NEW.type <> 'webhook.test'
BEGIN
  INSERT INTO deliveries (event_id, subscription_id, status, created_at, next_attempt_at)
    SELECT NEW.id, s.id, 'pending', NEW.occurred_at, NEW.occurred_at FROM subscriptions s
    WHERE s.workspace_id = NEW.workspace_id AND s.disabled_at IS NULL AND instr(s.types, '"' || NEW.type || '"') > 0;
END;
CREATE TRIGGER held_events_are_delivered AFTER UPDATE OF is_held ON outbox
WHEN NEW.is_held = 0 AND OLD.is_held = 1
BEGIN
  INSERT INTO told_states (subject, type, workspace_id, marker, told_at)
    SELECT NEW.connection_id, NEW.type, NEW.workspace_id, NEW.id, NEW.occurred_at WHERE NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = NEW.workspace_id AND w.deleted_at IS NOT NULL)
    ON CONFLICT (subject, type) DO UPDATE SET marker = excluded.marker, told_at = excluded.told_at;
  INSERT INTO deliveries (event_id, subscription_id, status, created_at, next_attempt_at)
    SELECT NEW.id, s.id, 'pending', NEW.occurred_at, NEW.occurred_at FROM subscriptions s
    WHERE s.workspace_id = NEW.workspace_id AND s.disabled_at IS NULL AND instr(s.types, '"' || NEW.type || '"') > 0;
END;
-- What ends at a date is told once for that date.
CREATE TRIGGER told_ends_are_remembered AFTER INSERT ON outbox
WHEN NEW.type IN ('connection.expires_soon', 'connection.missing_scopes', 'client.secret_expires')
BEGIN
  INSERT INTO told_states (subject, type, workspace_id, marker, told_at)
    VALUES (coalesce(NEW.connection_id, NEW.target), NEW.type, NEW.workspace_id, coalesce(CAST(NEW.ends_at AS TEXT), NEW.detail), NEW.occurred_at)
    ON CONFLICT (subject, type) DO UPDATE SET marker = excluded.marker, told_at = excluded.told_at;
END;

CREATE TRIGGER deliveries_are_due AFTER INSERT ON deliveries WHEN NEW.next_attempt_at IS NOT NULL
BEGIN
  UPDATE subscriptions SET due_at = max(paused_until, NEW.next_attempt_at)
    WHERE id = NEW.subscription_id AND (due_at IS NULL OR due_at > max(paused_until, NEW.next_attempt_at));
END;
-- The event of an app is kept no longer than until all have it.
CREATE TRIGGER delivered_payloads_are_erased AFTER UPDATE OF status ON deliveries
WHEN NEW.status = 'delivered' AND OLD.status <> 'delivered'
BEGIN
  UPDATE outbox SET sealed_payload = NULL WHERE id = NEW.event_id AND sealed_payload IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = NEW.event_id AND status <> 'delivered');
END;

-- What goes with a row.
CREATE TRIGGER erased_events_have_no_deliveries AFTER DELETE ON outbox
BEGIN
  DELETE FROM deliveries WHERE event_id = OLD.id;
END;
CREATE TRIGGER erased_connections_have_no_told_states AFTER DELETE ON connections
BEGIN
  DELETE FROM told_states WHERE subject = OLD.id;
END;
CREATE TRIGGER erased_clients_have_no_told_states AFTER DELETE ON oauth_clients
BEGIN
  DELETE FROM told_states WHERE subject = OLD.id;
END;
