variable "name_prefix" {
  description = "Start of every resource name: <project>-<env>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix: expected lower-case letters, digits and hyphens, found \"${var.name_prefix}\"."
  }
}

variable "policy_values" {
  description = "What the placeholders of infra/policies stand for."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(setsubtract(["partition", "region", "account", "name_prefix"], keys(var.policy_values))) == 0
    error_message = "policy_values: expected at least partition, region, account and name_prefix, found ${join(", ", keys(var.policy_values))}."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds every role; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: expected the ARN of an IAM policy or null."
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
