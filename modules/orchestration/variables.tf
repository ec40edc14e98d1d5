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

variable "checkpoints_table" {
  description = "Name of the table of checkpoints."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.checkpoints_table) > 0
    error_message = "checkpoints_table: expected the name of a table, found nothing."
  }
}

variable "function_arns" {
  description = "ARN by function of the catalogue; the state machine knows each as <name>_arn."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.function_arns) > 0
    error_message = "function_arns: expected the functions of the catalogue, found none."
  }
}

variable "spark" {
  description = "Where jobs on Spark run: application, their role, and by job what spark-submit is told; null for an environment without."
  type = object({
    application_id = string
    job_role_arn   = string
    entry_point    = string
    parameters     = map(string)
  })
  default = null

  validation {
    condition     = var.spark == null || toset(keys(try(var.spark.parameters, {}))) == toset(["curation", "semantic"])
    error_message = "spark.parameters: expected those of the jobs curation and semantic."
  }
}
