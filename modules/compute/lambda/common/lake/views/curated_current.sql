-- The newest version of every key that was not deleted, without what the pipeline notes for itself.
SELECT ${columns}
FROM curated_${topic}
WHERE NOT coalesce(${deleted}, false)
