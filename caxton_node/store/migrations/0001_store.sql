-- Messages and what became of them. `status` and what follows it change once, when the message
-- is settled; `body` is the packed message and stays last, so that nothing else reads past it.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    conversation_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    receiver TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'accepted',
    settled_at INTEGER,
    agent TEXT,
    started_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    body BLOB NOT NULL
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, seq);

-- Only what went wrong enters this index: a message that is delivered costs it nothing.
CREATE INDEX messages_gone_wrong ON messages (status, seq)
    WHERE status IN ('dead', 'expired', 'cancelled');

-- The mark trails the newest message by some ten thousands. Below it, `stragglers` names every
-- message that is still unsettled and `tally` counts the settled ones, so that neither a start
-- nor a count reads the whole history. `last_seq` is the floor that deleting rows must not lower.
CREATE TABLE watermark (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mark INTEGER NOT NULL,
    last_seq INTEGER NOT NULL
);
INSERT INTO watermark (id, mark, last_seq) VALUES (1, 1, 0);
CREATE TABLE stragglers (seq INTEGER PRIMARY KEY);
CREATE TABLE tally (status TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;

-- A batch is written by inserting ONE row into this view, and moving the mark by one into the
-- next: one statement is one step, and so one release of the interpreter lock, however many
-- messages it carries. Outside a transaction the same step also commits.
--   accepted  JSON [[seq, id, conversation_id, accepted_at, sender, receiver, offset, size], …]
--   bodies    all packed messages, one after another; offsets count from 1
--   settled   JSON [[seq, status, settled_at, agent, started_at, attempts, reason], …]
--   late      JSON [seq, …]: those of `settled` that lie below the mark
CREATE VIEW journal AS
    SELECT NULL AS accepted, NULL AS bodies, NULL AS settled, NULL AS late WHERE 0;
CREATE TRIGGER journal_batch INSTEAD OF INSERT ON journal
BEGIN
    INSERT INTO messages (seq, id, conversation_id, accepted_at, sender, receiver, body)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
           substr(NEW.bodies, value ->> 6, value ->> 7)
    FROM json_each(NEW.accepted)
    WHERE true
    ON CONFLICT (id) DO NOTHING;

    UPDATE messages
    SET status = s.value ->> 1, settled_at = s.value ->> 2, agent = s.value ->> 3,
        started_at = s.value ->> 4, attempts = s.value ->> 5, reason = s.value ->> 6
    FROM json_each(NEW.settled) AS s
    WHERE messages.seq = s.value ->> 0 AND messages.status = 'accepted';

    INSERT INTO tally (status, count)
    SELECT status, count(*)
    FROM messages
    WHERE seq IN (SELECT seq FROM stragglers
                  WHERE seq IN (SELECT value FROM json_each(NEW.late)))
    GROUP BY status
    ON CONFLICT (status) DO UPDATE SET count = count + excluded.count;

    DELETE FROM stragglers WHERE seq IN (SELECT value FROM json_each(NEW.late));
END;

CREATE VIEW progress AS SELECT NULL AS mark WHERE 0;
CREATE TRIGGER progress_mark INSTEAD OF INSERT ON progress
BEGIN
    INSERT INTO stragglers (seq)
    SELECT seq FROM messages
    WHERE seq >= (SELECT mark FROM watermark) AND seq < NEW.mark AND status = 'accepted';

    INSERT INTO tally (status, count)
    SELECT status, count(*) FROM messages
    WHERE seq >= (SELECT mark FROM watermark) AND seq < NEW.mark AND status <> 'accepted'
    GROUP BY status
    ON CONFLICT (status) DO UPDATE SET count = count + excluded.count;

    UPDATE watermark SET mark = NEW.mark;
END;

CREATE TRIGGER message_deleted AFTER DELETE ON messages
BEGIN
    UPDATE watermark SET last_seq = OLD.seq WHERE last_seq < OLD.seq;
    UPDATE tally SET count = count - 1
    WHERE status = OLD.status AND OLD.seq < (SELECT mark FROM watermark);
    DELETE FROM steps WHERE message_id = OLD.id;
END;

CREATE TRIGGER message_renumbered AFTER UPDATE OF seq ON messages
BEGIN
    UPDATE tally SET count = count - 1
    WHERE status = OLD.status AND OLD.seq < (SELECT mark FROM watermark);
END;

CREATE TABLE steps (
    message_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    data BLOB NOT NULL,
    PRIMARY KEY (message_id, number)
);
-- A turn of a message that was never journaled leaves steps too; pruning finds them by age.
CREATE INDEX steps_by_age ON steps (started_at);

CREATE TABLE agents (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    current INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE agent_versions (
    agent TEXT NOT NULL REFERENCES agents (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    format TEXT NOT NULL,
    digest TEXT NOT NULL,
    deployed_at INTEGER NOT NULL,
    PRIMARY KEY (agent, number)
);

-- Spending by conversation, and by day alone: a day's budget is one row, not a sum over every
-- conversation of the day.
CREATE TABLE usage_by_conversation (
    agent TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    day TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (agent, conversation_id, day)
) WITHOUT ROWID;
CREATE TABLE usage_by_day (
    agent TEXT NOT NULL,
    day TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (agent, day)
) WITHOUT ROWID;

CREATE TABLE log (
    number INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,
    at INTEGER NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL,
    conversation_id TEXT
);
CREATE INDEX log_by_agent ON log (agent, number);

CREATE TRIGGER agent_deleted AFTER DELETE ON agents
BEGIN
    DELETE FROM usage_by_conversation WHERE agent = OLD.name;
    DELETE FROM usage_by_day WHERE agent = OLD.name;
    DELETE FROM log WHERE agent = OLD.name;
END;
