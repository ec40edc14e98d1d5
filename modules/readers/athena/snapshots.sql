-- States of Curated that can still be read, the newest first: their ids and times are what time travel takes.
SELECT committed_at, snapshot_id, operation, element_at(summary, 'lean-ops.run-id') AS run_id
FROM "curated_${topic}$snapshots"
ORDER BY committed_at DESC
