-- What the contract promises of every key, without what the pipeline notes for itself.
SELECT ${columns}
FROM semantic_${topic}
