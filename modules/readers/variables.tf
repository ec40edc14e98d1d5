variable "environment" {
  description = "The environment that this module is part of: start of its names, its key, the boundary of its roles (null for none), days that its logs are kept, and what the placeholders of infra/policies stand for."
  type = object({
    name_prefix              = string
    kms_key_arn              = string
    permissions_boundary_arn = string
    log_retention_days       = number
    policy_values            = map(string)
  })
  nullable = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.environment.name_prefix))
    error_message = "environment.name_prefix: expected lower-case letters, digits and hyphens, found \"${var.environment.name_prefix}\"."
  }
}

variable "snowflake" {
  description = "Who takes the roles of Snowflake, as DESCRIBE shows it (infra/snowflake): IAM user and external id of the external volume (storage) and of the catalog integration (catalog); null for no Snowflake."
  type = object({
    storage = object({ principal_arn = string, external_id = string })
    catalog = object({ principal_arn = string, external_id = string })
  })
  default = null

  validation {
    condition     = var.snowflake == null || alltrue([for who in values(coalesce(var.snowflake, {})) : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:user/", who.principal_arn)) && length(who.external_id) > 1])
    error_message = "snowflake: expected for storage and catalog the ARN of an IAM user and an external id, as DESCRIBE EXTERNAL VOLUME and DESCRIBE CATALOG INTEGRATION show them."
  }
}
