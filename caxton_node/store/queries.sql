-- Every statement that the store runs, by name. A read answers with exactly one row, in which
-- lists are JSON arrays: fetching row by row would take the interpreter lock once for each.

-- name: accept_and_settle
INSERT INTO journal (accepted, bodies, settled, late) VALUES (?, ?, ?, ?)

-- name: accept_many
INSERT INTO messages (seq, id, conversation_id, accepted_at, sender, receiver, body)
SELECT * FROM (VALUES (?, ?, ?, ?, ?, ?, ?)) WHERE column1 IS NOT NULL
ON CONFLICT (id) DO NOTHING

-- name: mark
UPDATE messages
SET started_at = m.value ->> 1, agent = m.value ->> 2, attempts = m.value ->> 3,
    node = m.value ->> 4
FROM json_each(?) AS m
WHERE messages.seq = m.value ->> 0 AND messages.status = 'accepted'
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = messages.seq)

-- name: advance_mark
INSERT INTO progress (mark) VALUES (?)

-- name: positions
SELECT mark, max(last_seq, coalesce((SELECT max(seq) FROM messages), 0)) FROM watermark

-- name: unsettled_keys
SELECT json_group_array(json_array(seq, size)) FROM (
    SELECT seq, size FROM (
        SELECT * FROM (
            SELECT seq, length(body) AS size FROM stragglers CROSS JOIN messages USING (seq)
            WHERE seq > :after ORDER BY seq LIMIT :limit
        )
        UNION ALL
        SELECT * FROM (
            SELECT seq, length(body) AS size FROM journaled
            WHERE seq >= max((SELECT mark FROM watermark), :after + 1) AND status = 'accepted'
            ORDER BY seq LIMIT :limit
        )
    )
    ORDER BY seq LIMIT :limit
)

-- name: messages_by_seq
SELECT json_group_array(json_array(
           m.seq, m.id, m.status, m.accepted_at, m.settled_at, m.agent, m.started_at,
           m.attempts, m.reason, m.node)),
       group_concat(hex(m.body), ' ')
FROM json_each(:seqs) AS wanted CROSS JOIN journaled AS m ON m.seq = wanted.value

-- name: message_key
SELECT (SELECT seq FROM messages WHERE id = :id)

-- name: conversation_keys
SELECT json_group_array(json_array(seq, size)) FROM (
    SELECT seq, length(body) AS size FROM journaled
    WHERE conversation_id = :conversation_id AND seq > :cursor
      AND (:status IS NULL OR status = :status)
    ORDER BY seq LIMIT :limit
)

-- name: recent_keys
SELECT json_group_array(json_array(seq, size)) FROM (
    SELECT seq, length(body) AS size FROM messages
    WHERE conversation_id = :conversation_id ORDER BY seq DESC LIMIT :limit
)

-- name: subconversation_ids
SELECT json_group_array(conversation_id) FROM (
    SELECT DISTINCT conversation_id FROM messages
    WHERE conversation_id > :conversation_id || '.' AND conversation_id < :conversation_id || '/'
    ORDER BY conversation_id LIMIT :limit
)

-- name: newest_keys
SELECT json_group_array(json_array(seq, size)) FROM (
    SELECT seq, length(body) AS size FROM messages
    WHERE seq < :cursor ORDER BY seq DESC LIMIT :limit
)

-- name: gone_wrong_keys
SELECT json_group_array(json_array(seq, size)) FROM (
    SELECT seq, length(body) AS size FROM messages
    WHERE status = :status AND status NOT IN ('accepted', 'delivered') AND seq < :cursor
    ORDER BY seq DESC LIMIT :limit
)

-- name: accepted_keys
SELECT json_group_array(json_array(seq, size)) FROM (
    SELECT seq, size FROM (
        SELECT * FROM (
            SELECT seq, length(body) AS size FROM journaled
            WHERE seq >= (SELECT mark FROM watermark) AND seq < :cursor AND status = 'accepted'
            ORDER BY seq DESC LIMIT :limit
        )
        UNION ALL
        SELECT * FROM (
            SELECT seq, length(body) AS size FROM stragglers CROSS JOIN messages USING (seq)
            WHERE seq < :cursor ORDER BY seq DESC LIMIT :limit
        )
    )
    ORDER BY seq DESC LIMIT :limit
)

-- name: delivered_keys
SELECT (SELECT json_group_array(json_array(seq, size)) FROM (
           SELECT seq, length(body) AS size FROM journaled
           WHERE seq < :cursor AND seq >= :floor AND status = 'delivered'
           ORDER BY seq DESC LIMIT :limit)),
       (SELECT coalesce(min(seq), 0) FROM messages)

-- name: recent_conversations
SELECT (SELECT json_group_array(json_array(conversation_id, newest)) FROM (
           SELECT conversation_id, max(seq) AS newest FROM messages
           WHERE seq < :cursor AND seq >= :floor AND conversation_id <> ''
           GROUP BY conversation_id
           HAVING newest = (SELECT max(later.seq) FROM messages AS later
                            WHERE later.conversation_id = messages.conversation_id)
           ORDER BY newest DESC LIMIT :limit)),
       (SELECT coalesce(min(seq), 0) FROM messages)

-- name: conversation_summaries
SELECT json_group_array(json_array(
    c.value,
    json((SELECT json_array(
              count(*), count(*) FILTER (WHERE status = 'accepted'),
              min(accepted_at), max(accepted_at))
          FROM journaled WHERE conversation_id = c.value)),
    json((SELECT json_group_array(person) FROM (
        SELECT person FROM (
            SELECT sender AS person, 2 * seq AS place FROM (
                SELECT seq, sender FROM messages
                WHERE conversation_id = c.value ORDER BY seq LIMIT :scanned)
            UNION ALL
            SELECT coalesce(nullif(receiver, ''), agent, ''), 2 * seq + 1 FROM (
                SELECT seq, receiver, agent FROM journaled
                WHERE conversation_id = c.value ORDER BY seq LIMIT :scanned)
        )
        WHERE person <> '' GROUP BY person ORDER BY min(place) LIMIT :participants)))
))
FROM json_each(:conversation_ids) AS c

-- name: status_counts
SELECT json_group_array(json_array(status, number)) FROM (
    SELECT status, sum(number) AS number FROM (
        SELECT status, count AS number FROM tally
        UNION ALL
        SELECT 'accepted', count(*) FROM stragglers
        UNION ALL
        SELECT status, count(*) FROM journaled
        WHERE seq >= (SELECT mark FROM watermark) GROUP BY status
    )
    GROUP BY status HAVING sum(number) > 0
)

-- name: revive
UPDATE messages
SET seq = :seq, status = 'accepted', settled_at = NULL, agent = NULL, started_at = NULL,
    attempts = 0, reason = NULL, node = NULL
WHERE id = :id AND status = 'dead'

-- name: forget_begun_steps
DELETE FROM steps WHERE message_id = :id AND state = 'started'

-- name: drop
DELETE FROM messages WHERE id = :id AND status = 'dead'

-- name: prunable
SELECT json_group_array(seq) FILTER (WHERE status <> 'accepted' AND settled_at < :before),
       min(accepted_at), max(seq), count(*)
FROM (SELECT seq, status, settled_at, accepted_at FROM journaled
      WHERE seq > :after ORDER BY seq LIMIT :window)

-- name: prune
DELETE FROM messages
WHERE seq IN (
    SELECT seq FROM journaled
    WHERE seq IN (SELECT value FROM json_each(:seqs))
      AND status <> 'accepted' AND settled_at < :before)

-- name: prune_steps
DELETE FROM steps WHERE rowid IN (
    SELECT rowid FROM steps
    WHERE started_at < :before
      AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.id = steps.message_id)
    ORDER BY started_at LIMIT :limit)

-- name: has_version
SELECT EXISTS (SELECT 1 FROM agent_versions WHERE agent = :agent AND number = :number)

-- name: put_agent
INSERT INTO agents
    (name, state, current, changed_at, revision, epoch, is_here, replicas, placement)
VALUES
    (:name, :state, :current, :changed_at, :revision, :epoch, :is_here, :replicas, :placement)
ON CONFLICT (name) DO UPDATE
SET state = excluded.state, current = excluded.current, changed_at = excluded.changed_at,
    revision = excluded.revision, epoch = excluded.epoch, is_here = excluded.is_here,
    replicas = excluded.replicas, placement = excluded.placement

-- name: put_version
INSERT INTO agent_versions (agent, number, version, source, format, digest, deployed_at)
VALUES (:agent, :number, :version, :source, :format, :digest, :deployed_at)

-- name: agents
SELECT json_group_array(json_array(
           name, state, current, changed_at, revision, epoch, is_here, replicas, placement))
FROM (SELECT * FROM agents ORDER BY name LIMIT :limit)

-- name: agent_versions
SELECT json_group_array(json_array(number, version, source, format, digest, deployed_at))
FROM (SELECT * FROM agent_versions WHERE agent = :agent ORDER BY number LIMIT :limit)

-- name: put_definition
INSERT INTO definitions (digest, format, source) VALUES (:digest, :format, :source)
ON CONFLICT (digest) DO NOTHING

-- name: definition
SELECT (
    SELECT json_array(format, source) FROM (
        SELECT format, source FROM definitions WHERE digest = :digest
        UNION ALL
        SELECT format, source FROM agent_versions WHERE digest = :digest
        LIMIT 1
    )
)

-- name: definition_digests
SELECT json_group_array(digest) FROM (SELECT digest FROM definitions ORDER BY digest LIMIT :limit)

-- name: delete_definitions
DELETE FROM definitions WHERE digest IN (SELECT value FROM json_each(:digests))

-- name: node_number
SELECT (SELECT value FROM node_numbers WHERE name = :name)

-- name: node_numbers
SELECT json_group_array(json_array(name, value)) FROM (
    SELECT name, value FROM node_numbers
    WHERE name >= :prefix AND name < :end ORDER BY name LIMIT :limit
)

-- name: delete_node_number
DELETE FROM node_numbers WHERE name = :name

-- name: put_node_number
INSERT INTO node_numbers (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: delete_agent
DELETE FROM agents WHERE name = :name

-- name: put_steps
INSERT INTO steps (message_id, number, kind, name, state, started_at, finished_at, data)
SELECT value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
       coalesce(substr(:data, value ->> 0, value ->> 1), x'')  -- of nothing, substr is NULL
FROM json_each(:rows)
WHERE true
ON CONFLICT (message_id, number) DO UPDATE
SET kind = excluded.kind, name = excluded.name, state = excluded.state,
    started_at = excluded.started_at, finished_at = excluded.finished_at, data = excluded.data

-- name: steps
SELECT json_group_array(json_array(number, kind, name, state, started_at, finished_at)),
       group_concat(hex(data), ' ')
FROM (SELECT * FROM steps WHERE message_id = :message_id ORDER BY number LIMIT :limit)

-- name: add_usage_by_conversation
INSERT INTO usage_by_conversation (agent, conversation_id, day, input_tokens, output_tokens, cost)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM json_each(:rows)
WHERE true
ON CONFLICT (agent, conversation_id, day) DO UPDATE
SET input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cost = cost + excluded.cost

-- name: add_usage_by_day
INSERT INTO usage_by_day (agent, day, input_tokens, output_tokens, cost)
SELECT value ->> 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM json_each(:rows)
WHERE true
ON CONFLICT (agent, day) DO UPDATE
SET input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cost = cost + excluded.cost

-- name: usage_by_conversation
SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), total(cost)
FROM usage_by_conversation
WHERE agent = :agent AND conversation_id = :conversation_id AND (:day IS NULL OR day = :day)

-- name: usage_by_day
SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), total(cost)
FROM usage_by_day WHERE agent = :agent AND (:day IS NULL OR day = :day)

-- name: put_log
INSERT INTO log (agent, at, level, text, conversation_id)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(:rows) ORDER BY key

-- name: trim_log
DELETE FROM log WHERE number IN (
    SELECT line.number
    FROM (SELECT DISTINCT value ->> 0 AS name FROM json_each(:rows)) AS touched
    CROSS JOIN log AS line ON line.agent = touched.name
    WHERE line.number <= (SELECT number FROM log WHERE agent = touched.name
                          ORDER BY number DESC LIMIT 1 OFFSET :kept))

-- name: log
SELECT json_group_array(json_array(at, level, text, conversation_id)) FROM (
    SELECT * FROM (
        SELECT * FROM log WHERE agent = :agent ORDER BY number DESC LIMIT :tail
    ) ORDER BY number
)
