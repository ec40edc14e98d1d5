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

variable "database" {
  description = "Name of the Glue database."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.database))
    error_message = "database: expected lower-case letters, digits and underscores, found \"${var.database}\"."
  }
}

variable "lake_bucket" {
  description = "Name of the lake bucket, where results of queries are kept for some days."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.lake_bucket) > 0
    error_message = "lake_bucket: expected the name of a bucket, found nothing."
  }
}

variable "athena_topics" {
  description = "Topics with saved queries in Athena."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.athena_topics) <= 50
    error_message = "athena_topics: expected at most 50 topics, found ${length(var.athena_topics)}."
  }
}

variable "topics_with_contract" {
  description = "Topics that have Semantic and Quarantine."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for topic in var.topics_with_contract : can(regex("^[a-z][a-z0-9_]{0,29}$", topic))])
    error_message = "topics_with_contract: expected names of 1 to 30 lower-case letters, digits and underscores, found ${join(", ", var.topics_with_contract)}."
  }
}

variable "athena_scan_limit_gib" {
  description = "GiB that one query in Athena may scan; it is ended when it has."
  type        = number
  nullable    = false

  validation {
    condition     = var.athena_scan_limit_gib >= 1
    error_message = "athena_scan_limit_gib: expected at least 1 GiB, found ${var.athena_scan_limit_gib}."
  }
}
