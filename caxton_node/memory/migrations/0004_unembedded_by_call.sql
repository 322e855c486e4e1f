-- What lacks a vector is noted once a call, as its words are: a trigger takes a third of the time
-- in which a row is written.

DROP TRIGGER observations_added;
