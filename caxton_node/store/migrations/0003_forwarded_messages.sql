-- The node that had the turn of a message which was accepted here; null where that is this one.
ALTER TABLE messages ADD COLUMN node TEXT;

-- As before, and `settled` may say the node as its eighth value.
DROP TRIGGER journal_batch;
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
        started_at = s.value ->> 4, attempts = s.value ->> 5, reason = s.value ->> 6,
        node = s.value ->> 7
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
