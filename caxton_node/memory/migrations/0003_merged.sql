-- Of two observations that say the same in other words one is current; the other is history and
-- names it. When the current one is deleted, the other is current again, and its vector is put
-- into the arena anew.

ALTER TABLE observations ADD COLUMN merged_into INTEGER;

CREATE INDEX observations_merged ON observations (entity, digest) WHERE merged_into IS NOT NULL;
CREATE INDEX observations_merged_into ON observations (merged_into) WHERE merged_into IS NOT NULL;

CREATE TRIGGER observations_unmerged AFTER DELETE ON observations BEGIN
    INSERT OR IGNORE INTO unembedded SELECT id FROM observations WHERE merged_into = old.id;
    UPDATE OR IGNORE observations SET valid_to = NULL, merged_into = NULL
    WHERE merged_into = old.id;
END;
