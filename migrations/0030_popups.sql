-- A link may be opened in a window of the embedding product, whose page is told what came of it.
--
-- Adds columns that may be NULL. The previous version shows its last page without telling anybody.

-- The origin of the page that opens the link and is told. NULL: the link is not opened in such a window.
ALTER TABLE connect_links ADD COLUMN popup_origin TEXT;
ALTER TABLE flows ADD COLUMN popup_origin TEXT;
