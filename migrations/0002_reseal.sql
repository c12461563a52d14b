-- How far the rows have come that another key than the first sealed. There is one row at most: that of
-- the key that seals now. docs/keys.md tells how keys are rotated.
CREATE TABLE reseals (
  key_id TEXT PRIMARY KEY,
  -- Passes begun. One that changed anything, or had to leave something, is followed by another.
  pass INTEGER NOT NULL,
  -- The last row looked at: all sealed columns are walked as one list, in order of id and column.
  -- No id: nothing is walked until next_pass_at.
  after_id TEXT,
  after_column INTEGER NOT NULL,
  -- Values sealed again, in all passes.
  resealed INTEGER NOT NULL,
  -- Values that this pass sealed again or left for the next one; values whose key is gone.
  unsettled INTEGER NOT NULL,
  unreadable INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  next_pass_at INTEGER,
  finished_at INTEGER
) STRICT, WITHOUT ROWID;
