-- Once for each table of what was done (docs/readers.md): counts and names, no value of an event.
CREATE ICEBERG TABLE IF NOT EXISTS lean_ops.operations.ops_${operation}
  EXTERNAL_VOLUME = 'lean_ops_lake'
  CATALOG = 'lean_ops_catalog'
  CATALOG_TABLE_NAME = 'ops_${operation}'
  AUTO_REFRESH = TRUE;
