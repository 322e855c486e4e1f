-- How messages ended comes by runs: what most of them share is said once, and each is one number.
-- Taking eight values out of a JSON array for each cost as much as the update itself.
--   status, agent, attempts, reason, node   of all of the run; agent '' is the message's receiver
--   seq, settled_at, started_at             what the parts of a number are added to
--   packed                                  JSON [number, …]: see `caxton_node/store/ends.py`
CREATE VIEW ends AS
    SELECT NULL AS status, NULL AS agent, NULL AS attempts, NULL AS reason, NULL AS node,
           NULL AS seq, NULL AS settled_at, NULL AS started_at, NULL AS packed
    WHERE 0;
CREATE TRIGGER ends_run INSTEAD OF INSERT ON ends
BEGIN
    UPDATE messages
    SET status = NEW.status,
        settled_at = NEW.settled_at + ((p.value >> 21) & 1048575),
        agent = CASE NEW.agent WHEN '' THEN messages.receiver ELSE NEW.agent END,
        started_at = NEW.started_at + (p.value >> 41),
        attempts = NEW.attempts, reason = NEW.reason, node = NEW.node
    FROM json_each(NEW.packed) AS p
    WHERE messages.seq = NEW.seq + (p.value & 2097151) AND messages.status = 'accepted';
END;

-- As before, but `settled` is JSON [[a value for each column of `ends`], …].
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
    FROM messages
    WHERE seq IN (SELECT seq FROM stragglers
                  WHERE seq IN (SELECT value FROM json_each(NEW.late)))
    GROUP BY status
    ON CONFLICT (status) DO UPDATE SET count = count + excluded.count;

    DELETE FROM stragglers WHERE seq IN (SELECT value FROM json_each(NEW.late));
END;
