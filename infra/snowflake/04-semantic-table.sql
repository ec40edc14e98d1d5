-- Once for each topic with a contract. New columns show after a refresh; format version 2 must stay.
CREATE ICEBERG TABLE IF NOT EXISTS lean_ops.semantic.semantic_${topic}
  EXTERNAL_VOLUME = 'lean_ops_lake'
  CATALOG = 'lean_ops_catalog'
  CATALOG_TABLE_NAME = 'semantic_${topic}'
  AUTO_REFRESH = TRUE;
