-- The user that query latencies are read with, and refreshes are made. Its key pair:
--   openssl genrsa 2048 | openssl pkcs8 -topk8 -inform PEM -nocrypt -out key.p8
--   openssl rsa -in key.p8 -pubout
CREATE ROLE IF NOT EXISTS lean_ops_monitor;

CREATE USER IF NOT EXISTS lean_ops_monitor
  TYPE = SERVICE
  DEFAULT_ROLE = lean_ops_monitor
  RSA_PUBLIC_KEY = '${public_key}';

GRANT ROLE lean_ops_monitor TO USER lean_ops_monitor;

GRANT USAGE ON WAREHOUSE ${warehouse} TO ROLE lean_ops_monitor;

-- MONITOR shows the queries of all users on the warehouse.
GRANT MONITOR ON WAREHOUSE ${warehouse} TO ROLE lean_ops_monitor;

GRANT USAGE ON DATABASE lean_ops TO ROLE lean_ops_monitor;

GRANT USAGE ON SCHEMA lean_ops.semantic TO ROLE lean_ops_monitor;

-- Only the owner of a table may refresh it.
GRANT OWNERSHIP ON ALL ICEBERG TABLES IN SCHEMA lean_ops.semantic TO ROLE lean_ops_monitor COPY CURRENT GRANTS;
