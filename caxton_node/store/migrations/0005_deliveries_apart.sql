-- Messages that were delivered have their end in a table of their own, without a change to their row:
-- 40 bytes are added to the last page instead of rewriting the pages with the message in them. That
-- is half of what a message writes to the log, and again to the database. What went wrong is rare,
-- and stays in the message's row, as do the ends that earlier versions wrote.
--   agent   '' is the message's receiver
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    settled_at INTEGER NOT NULL,
    agent TEXT,
    started_at INTEGER,
    attempts INTEGER NOT NULL,
    node TEXT
);

-- Messages with their ends, wherever these are.
CREATE VIEW journaled AS
    SELECT m.seq, m.id, m.conversation_id, m.sender, m.receiver, m.accepted_at,
           CASE WHEN d.seq IS NULL THEN m.status ELSE 'delivered' END AS status,
           CASE WHEN d.seq IS NULL THEN m.settled_at ELSE d.settled_at END AS settled_at,
           CASE WHEN d.seq IS NULL THEN m.agent
                WHEN d.agent = '' THEN m.receiver ELSE d.agent END AS agent,
           CASE WHEN d.seq IS NULL THEN m.started_at ELSE d.started_at END AS started_at,
           CASE WHEN d.seq IS NULL THEN m.attempts ELSE d.attempts END AS attempts,
           m.reason,
           CASE WHEN d.seq IS NULL THEN m.node ELSE d.node END AS node,
           m.body
    FROM messages AS m LEFT JOIN deliveries AS d ON d.seq = m.seq;

-- The first end counts, in whichever table it is.
DROP TRIGGER ends_run;
CREATE TRIGGER ends_delivered INSTEAD OF INSERT ON ends
WHEN NEW.status = 'delivered' AND NEW.reason IS NULL
BEGIN
    INSERT INTO deliveries (seq, settled_at, agent, started_at, attempts, node)
    SELECT m.seq, NEW.settled_at + ((p.value >> 21) & 1048575), NEW.agent,
           NEW.started_at + (p.value >> 41), NEW.attempts, NEW.node
    FROM json_each(NEW.packed) AS p CROSS JOIN messages AS m
    ON m.seq = NEW.seq + (p.value & 2097151) AND m.status = 'accepted'
    WHERE true
    ON CONFLICT (seq) DO NOTHING;
END;
CREATE TRIGGER ends_otherwise INSTEAD OF INSERT ON ends
WHEN NEW.status <> 'delivered' OR NEW.reason IS NOT NULL
BEGIN
    UPDATE messages
    SET status = NEW.status,
        settled_at = NEW.settled_at + ((p.value >> 21) & 1048575),
        agent = CASE NEW.agent WHEN '' THEN messages.receiver ELSE NEW.agent END,
        started_at = NEW.started_at + (p.value >> 41),
        attempts = NEW.attempts, reason = NEW.reason, node = NEW.node
    FROM json_each(NEW.packed) AS p
    WHERE messages.seq = NEW.seq + (p.value & 2097151) AND messages.status = 'accepted'
      AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = messages.seq);
END;

-- The same index under a condition that costs less to evaluate: SQLite answers IN with three values
-- by a table that it builds for each row written, and with two by two comparisons.
DROP INDEX messages_gone_wrong;
CREATE INDEX messages_gone_wrong ON messages (status, seq)
    WHERE status NOT IN ('accepted', 'delivered');

-- The others as before, of messages with their ends.
DROP TRIGGER journal_batch;
CREATE TRIGGER journal_batch INSTEAD OF INSERT ON journal
BEGIN
    INSERT INTO messages (seq, id, conversation_id, accepted_at, sender, receiver, body)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
           substr(NEW.bodies, value ->> 6, value ->> 7)
    FROM json_each(NEW.accepted)
    WHERE true
    ON CONFLICT (id) DO NOTHING;

    INSERT INTO ends
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
           value ->> 6, value ->> 7, value -> 8
    FROM json_each(NEW.settled);

    INSERT INTO tally (status, count)
    SELECT status, count(*)
    FROM journaled
    WHERE seq IN (SELECT seq FROM stragglers
                  WHERE seq IN (SELECT value FROM json_each(NEW.late)))
    GROUP BY status
    ON CONFLICT (status) DO UPDATE SET count = count + excluded.count;

    DELETE FROM stragglers WHERE seq IN (SELECT value FROM json_each(NEW.late));
END;

DROP TRIGGER progress_mark;
CREATE TRIGGER progress_mark INSTEAD OF INSERT ON progress
BEGIN
    INSERT INTO stragglers (seq)
    SELECT seq FROM journaled
    WHERE seq >= (SELECT mark FROM watermark) AND seq < NEW.mark AND status = 'accepted';

    INSERT INTO tally (status, count)
    SELECT status, count(*) FROM journaled
    WHERE seq >= (SELECT mark FROM watermark) AND seq < NEW.mark AND status <> 'accepted'
    GROUP BY status
    ON CONFLICT (status) DO UPDATE SET count = count + excluded.count;

    UPDATE watermark SET mark = NEW.mark;
END;

DROP TRIGGER message_deleted;
CREATE TRIGGER message_deleted AFTER DELETE ON messages
BEGIN
    UPDATE watermark SET last_seq = OLD.seq WHERE last_seq < OLD.seq;
    UPDATE tally SET count = count - 1
    WHERE status = CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE seq = OLD.seq)
                        THEN 'delivered' ELSE OLD.status END
      AND OLD.seq < (SELECT mark FROM watermark);
    DELETE FROM deliveries WHERE seq = OLD.seq;
    DELETE FROM steps WHERE message_id = OLD.id;
END;
