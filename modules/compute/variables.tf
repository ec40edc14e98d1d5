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

variable "build_directory" {
  description = "Folder that `make build` wrote."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.build_directory) > 0
    error_message = "build_directory: expected a folder, found nothing."
  }
}

variable "lake_bucket" {
  description = "Bucket that carries the layers (under artifacts/) to Lambda."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.lake_bucket) > 0
    error_message = "lake_bucket: expected the name of a bucket, found nothing."
  }
}

variable "placeholder_values" {
  description = "What the placeholders of functions.json stand for."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(setsubtract(["project", "env"], keys(var.placeholder_values))) == 0
    error_message = "placeholder_values: expected at least project and env, found ${join(", ", keys(var.placeholder_values))}."
  }
}

variable "schedule_minutes" {
  description = "How often the dispatcher looks at all topics."
  type        = number
  nullable    = false

  validation {
    condition     = var.schedule_minutes >= 1 && var.schedule_minutes <= 1440 && floor(var.schedule_minutes) == var.schedule_minutes
    error_message = "schedule_minutes: expected a whole number, 1 to 1440 minutes, found ${var.schedule_minutes}."
  }
}

variable "schedule_group" {
  description = "Schedule group of the environment."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.schedule_group) > 0
    error_message = "schedule_group: expected the name of a schedule group, found nothing."
  }
}

variable "alarm_topic_arns" {
  description = "ARN of each alarm topic, for functions that listen to alarms."
  type        = map(string)
  nullable    = false

  validation {
    condition = length(setsubtract(
      flatten([for function in jsondecode(file("${path.module}/functions.json")).functions : try(function.alarm_topics, [])]),
      keys(var.alarm_topic_arns),
    )) == 0
    error_message = "functions.json: expected alarm_topics out of ${join(", ", keys(var.alarm_topic_arns))} (modules/monitoring/catalogue.json)."
  }
}
