-- The catalog, either this one (AWS Glue's own interface) or 02-catalog-glue-rest.sql.
CREATE CATALOG INTEGRATION IF NOT EXISTS lean_ops_catalog
  CATALOG_SOURCE = GLUE
  CATALOG_NAMESPACE = '${database}'
  TABLE_FORMAT = ICEBERG
  GLUE_AWS_ROLE_ARN = '${catalog_role_arn}'
  GLUE_CATALOG_ID = '${account}'
  GLUE_REGION = '${region}'
  ENABLED = TRUE
  REFRESH_INTERVAL_SECONDS = 60;

DESCRIBE CATALOG INTEGRATION lean_ops_catalog;
