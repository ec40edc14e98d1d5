-- Who reads, and what hides personal data from them: a column with the tag is masked for all but one role.
CREATE ROLE IF NOT EXISTS lean_ops_analyst COMMENT = 'Reads Semantic, personal data masked';

CREATE ROLE IF NOT EXISTS lean_ops_pii_reader COMMENT = 'Reads Semantic as it is stored: hashes of personal data join';

GRANT ROLE lean_ops_analyst TO ROLE lean_ops_pii_reader;

CREATE TAG IF NOT EXISTS lean_ops.semantic.personal_data
  COMMENT = 'How the contract treats the value before it is stored: hash or mask';

CREATE TAG IF NOT EXISTS lean_ops.semantic.contract_version
  COMMENT = 'Version of the data contract that the table keeps';

CREATE TAG IF NOT EXISTS lean_ops.semantic.critical
  COMMENT = 'A row without a valid value here is in Quarantine, not in Semantic';

CREATE MASKING POLICY IF NOT EXISTS lean_ops.semantic.personal_data AS (value VARCHAR) RETURNS VARCHAR ->
  CASE WHEN IS_ROLE_IN_SESSION('LEAN_OPS_PII_READER') THEN value ELSE '***' END
  COMMENT = 'Shows personal data to lean_ops_pii_reader alone';

ALTER TAG lean_ops.semantic.personal_data SET MASKING POLICY lean_ops.semantic.personal_data;
