-- Where Snowflake reads the tables' files: read only, through a role that trusts Snowflake.
-- DESCRIBE shows the IAM user and the external id that the role's trust policy must name.
CREATE EXTERNAL VOLUME IF NOT EXISTS lean_ops_lake
  STORAGE_LOCATIONS = (
    (
      NAME = 'lake'
      STORAGE_PROVIDER = 'S3'
      STORAGE_BASE_URL = 's3://${lake_bucket}/'
      STORAGE_AWS_ROLE_ARN = '${storage_role_arn}'
      STORAGE_AWS_EXTERNAL_ID = '${external_id}'
    )
  )
  ALLOW_WRITES = FALSE;

DESCRIBE EXTERNAL VOLUME lean_ops_lake;
