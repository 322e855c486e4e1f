-- Each word carries its row's scope into the index (see `wording.shelved`): a list of rows for each
-- word of each scope, where there was one for all. The column that said the scope goes.

DROP TRIGGER observations_gone;
DROP TABLE words;
ALTER TABLE observations DROP COLUMN shelf;

CREATE VIEW shelved_observations AS
SELECT
    id,
    shelved(scope, subject) AS subject,
    shelved(scope, text) AS text,
    shelved(scope, context) AS context
FROM observations;

CREATE VIRTUAL TABLE words USING fts5 (
    subject, text, context,
    content = 'shelved_observations', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 0'
);

CREATE TRIGGER observations_gone AFTER DELETE ON observations BEGIN
    INSERT INTO words (words, rowid, subject, text, context)
    VALUES (
        'delete', old.id, shelved(old.scope, old.subject), shelved(old.scope, old.text),
        shelved(old.scope, old.context)
    );
END;

INSERT INTO words (words) VALUES ('rebuild');

-- Both ends of a relation are of its scope; the strongest first of an entity serves what is true
-- now and what was; and a scope's relations can be read in the order in which they lie.
DROP INDEX relations_open;
DROP INDEX relations_out;
DROP INDEX relations_in;
DROP INDEX relations_from;
DROP INDEX relations_to;

CREATE UNIQUE INDEX relations_open ON relations (source, target, type) WHERE valid_to IS NULL;
CREATE INDEX relations_out ON relations (source, strength DESC);
CREATE INDEX relations_in ON relations (target, strength DESC);
CREATE INDEX relations_by_scope ON relations (scope) WHERE valid_to IS NULL;

-- Of which model every observation has a vector or stands in `unembedded`.
CREATE TABLE model_in_use (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    model INTEGER NOT NULL REFERENCES models (id)
) STRICT;
