-- What a node must know of its agents to agree with other nodes about who runs them: see
-- `AgentRecord`. An agent that moved to another node stays in the table, with its versions, its log
-- and its spending, and is not seated at the next start.
ALTER TABLE agents ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE agents ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;
ALTER TABLE agents ADD COLUMN is_here INTEGER NOT NULL DEFAULT 1;
ALTER TABLE agents ADD COLUMN replicas INTEGER;
ALTER TABLE agents ADD COLUMN placement TEXT;

-- Definitions of agents that other nodes run, kept so that this one can take them over.
CREATE TABLE definitions (
    digest TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    source TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX agent_versions_by_digest ON agent_versions (digest);

-- Numbers that the node itself must not forget, such as how often it was started.
CREATE TABLE node_numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
