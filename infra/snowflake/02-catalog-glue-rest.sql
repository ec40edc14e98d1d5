-- The catalog through Glue's Iceberg REST endpoint, which Snowflake recommends for new integrations.
CREATE CATALOG INTEGRATION IF NOT EXISTS lean_ops_catalog
  CATALOG_SOURCE = ICEBERG_REST
  TABLE_FORMAT = ICEBERG
  CATALOG_NAMESPACE = '${database}'
  REST_CONFIG = (
    CATALOG_URI = 'https://glue.${region}.amazonaws.com/iceberg'
    CATALOG_API_TYPE = AWS_GLUE
    CATALOG_NAME = '${account}'
  )
  REST_AUTHENTICATION = (
    TYPE = SIGV4
    SIGV4_IAM_ROLE = '${catalog_role_arn}'
    SIGV4_SIGNING_REGION = '${region}'
  )
  ENABLED = TRUE
  REFRESH_INTERVAL_SECONDS = 60;

DESCRIBE CATALOG INTEGRATION lean_ops_catalog;
