-- Everything that belongs to somebody has a scope, also where it could be derived: whoever forgets
-- to join must not see what is not his.

CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('agent', 'workspace', 'global')),
    workspace TEXT NOT NULL,
    agent TEXT NOT NULL,
    UNIQUE (kind, workspace, agent)
) STRICT;

CREATE TABLE entities (
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL REFERENCES scopes (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (scope, name_key)
) STRICT;

-- What an entity was before: closed intervals. The open one is the entity itself.
CREATE TABLE entity_versions (
    entity INTEGER NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER NOT NULL,
    PRIMARY KEY (entity, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE observations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the arena tells rows apart by it: never used again
    scope INTEGER NOT NULL REFERENCES scopes (id) ON DELETE CASCADE,
    entity INTEGER NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    attribute TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    context TEXT NOT NULL,
    digest BLOB NOT NULL,
    confidence REAL NOT NULL,
    strength REAL NOT NULL,
    created_at INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    replaced_by INTEGER,
    expires_at INTEGER,
    is_pinned INTEGER NOT NULL,
    use_count INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    agent TEXT NOT NULL,
    conversation TEXT NOT NULL,
    message TEXT NOT NULL,
    model TEXT NOT NULL,
    shelf TEXT GENERATED ALWAYS AS ('s' || scope) VIRTUAL
) STRICT;

CREATE UNIQUE INDEX observations_open ON observations (entity, digest) WHERE valid_to IS NULL;
CREATE INDEX observations_by_entity ON observations (entity, valid_from);
CREATE INDEX observations_by_scope ON observations (scope, used_at);
CREATE INDEX observations_expiring ON observations (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX observations_decaying ON observations (used_at)
WHERE kind = 'episode' AND is_pinned = 0;
CREATE INDEX observations_by_conversation ON observations (conversation, id)
WHERE conversation <> '';

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    dimensions INTEGER NOT NULL
) STRICT;

-- `data` is what sqlite-vec calls a float vector: little-endian 32-bit numbers.
CREATE TABLE vectors (
    observation INTEGER PRIMARY KEY REFERENCES observations (id) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models (id),
    data BLOB NOT NULL
) STRICT;

-- `shelf` puts the scope into the index: another's rows are not even looked at.
CREATE VIRTUAL TABLE words USING fts5 (
    shelf, subject, text, context,
    content = 'observations', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

-- What lacks a vector of the model in use. A list, because looking for it among all rows would
-- take longer than making the vector.
CREATE TABLE unembedded (
    observation INTEGER PRIMARY KEY REFERENCES observations (id) ON DELETE CASCADE
) STRICT;

-- The words of new rows are written once a call and not here: FTS5 would flush at every row.
CREATE TRIGGER observations_added AFTER INSERT ON observations BEGIN
    INSERT INTO unembedded VALUES (new.id);
END;

CREATE TRIGGER observations_gone AFTER DELETE ON observations BEGIN
    INSERT INTO words (words, rowid, shelf, subject, text, context)
    VALUES ('delete', old.id, 's' || old.scope, old.subject, old.text, old.context);
END;

CREATE TABLE relations (
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL REFERENCES scopes (id) ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    target INTEGER NOT NULL REFERENCES entities (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    strength REAL NOT NULL,
    confidence REAL NOT NULL,
    created_at INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    agent TEXT NOT NULL,
    conversation TEXT NOT NULL,
    message TEXT NOT NULL,
    model TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX relations_open ON relations (scope, source, target, type)
WHERE valid_to IS NULL;
CREATE INDEX relations_out ON relations (source, strength DESC) WHERE valid_to IS NULL;
CREATE INDEX relations_in ON relations (target, strength DESC) WHERE valid_to IS NULL;
CREATE INDEX relations_from ON relations (source);
CREATE INDEX relations_to ON relations (target);

-- Conversations from which nobody has drawn conclusions since the episode `after`.
CREATE TABLE unconsolidated (
    scope INTEGER NOT NULL REFERENCES scopes (id) ON DELETE CASCADE,
    conversation TEXT NOT NULL,
    after INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (scope, conversation)
) STRICT, WITHOUT ROWID;

CREATE INDEX unconsolidated_by_age ON unconsolidated (last_at);

CREATE TABLE backups (
    path TEXT PRIMARY KEY,
    taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
