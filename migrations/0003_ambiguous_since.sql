-- When the refresh token of `ambiguous_token_hash` was first presented: what an app with a grace gives for it again
-- is as old as that.
ALTER TABLE connections ADD COLUMN ambiguous_since INTEGER;
