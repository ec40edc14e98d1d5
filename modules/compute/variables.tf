variable "name_prefix" {
  description = "Start of every resource name: <project>-<env>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix: expected lower-case letters, digits and hyphens, found \"${var.name_prefix}\"."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts what this module stores."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: expected the ARN of a KMS key, found \"${var.kms_key_arn}\"."
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

variable "log_retention_days" {
  description = "Days that log groups keep their entries."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days: expected a period that CloudWatch Logs offers, found ${var.log_retention_days}."
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
    condition     = length(setsubtract(["project", "env", "topics"], keys(var.placeholder_values))) == 0
    error_message = "placeholder_values: expected at least project, env and topics, found ${join(", ", keys(var.placeholder_values))}."
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
