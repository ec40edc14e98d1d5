-- What readers may: everything in Semantic and of what was done, now and later, and nothing else.
GRANT USAGE ON WAREHOUSE ${warehouse} TO ROLE lean_ops_analyst;

GRANT USAGE ON DATABASE lean_ops TO ROLE lean_ops_analyst;

GRANT USAGE ON SCHEMA lean_ops.semantic TO ROLE lean_ops_analyst;

GRANT SELECT ON ALL ICEBERG TABLES IN SCHEMA lean_ops.semantic TO ROLE lean_ops_analyst;

GRANT SELECT ON FUTURE ICEBERG TABLES IN SCHEMA lean_ops.semantic TO ROLE lean_ops_analyst;

GRANT USAGE ON SCHEMA lean_ops.operations TO ROLE lean_ops_analyst;

GRANT SELECT ON ALL ICEBERG TABLES IN SCHEMA lean_ops.operations TO ROLE lean_ops_analyst;

GRANT SELECT ON FUTURE ICEBERG TABLES IN SCHEMA lean_ops.operations TO ROLE lean_ops_analyst;
