-- What to tell the person where a credential works and yet sees nothing, as the app's definition says it: derived from an
-- answer of the app, so that it can't be derived when reading.
ALTER TABLE connections ADD COLUMN nothing_shared TEXT;
