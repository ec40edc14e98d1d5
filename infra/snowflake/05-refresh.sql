-- What `lean-ops refresh <topic>` runs. With a Glue catalog no metadata path is given.
ALTER ICEBERG TABLE IF EXISTS lean_ops.semantic.semantic_${topic} REFRESH;
