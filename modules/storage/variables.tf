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

variable "database" {
  description = "Name of the Glue database."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.database))
    error_message = "database: expected lower-case letters, digits and underscores (Firehose takes no hyphen), found \"${var.database}\"."
  }
}

variable "lake_bucket" {
  description = "Name of the bucket of tables, contracts and delivery errors."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.lake_bucket))
    error_message = "lake_bucket: expected 3 to 63 lower-case letters, digits and hyphens, found \"${var.lake_bucket}\"."
  }
}

variable "topics" {
  description = "Topics: path of the contract (null for none) and whether the contract says that events are few."
  type        = map(object({ contract = optional(string), low_volume = optional(bool, false) }))
  nullable    = false

  validation {
    condition     = alltrue([for topic in keys(var.topics) : can(regex("^[a-z][a-z0-9_]{0,29}$", topic))])
    error_message = "topics: expected names of 1 to 30 lower-case letters, digits and underscores, found ${join(", ", keys(var.topics))}."
  }
}

variable "delivery_error_retention_days" {
  description = "Days that objects of failed deliveries are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.delivery_error_retention_days >= 14
    error_message = "delivery_error_retention_days: expected at least 14 days, found ${var.delivery_error_retention_days}."
  }
}

variable "archive_retention_days" {
  description = "Days that archived dead letters are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.archive_retention_days >= 14
    error_message = "archive_retention_days: expected at least the 14 days that the queue keeps them, found ${var.archive_retention_days}."
  }
}

variable "query_result_retention_days" {
  description = "Days that results of Athena's queries are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.query_result_retention_days >= 1
    error_message = "query_result_retention_days: expected at least 1 day, found ${var.query_result_retention_days}."
  }
}
