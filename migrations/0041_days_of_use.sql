-- The page of a connection shows on which of the last 30 days it was used.
--
-- Adds a column that may be NULL: the previous version works with it, and leaves days out that it does not write.

-- The day of the last use that was written here, counted from 1970, times 2^30, and a bit for each of the 30 days up to it: the
-- lowest is that day.
ALTER TABLE uses ADD COLUMN used_days INTEGER;
