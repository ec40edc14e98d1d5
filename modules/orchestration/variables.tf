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

variable "topics" {
  description = "Topics that runs are scheduled for."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.topics) > 0
    error_message = "topics: expected at least one topic, found none."
  }
}

variable "paused_topics" {
  description = "Topics whose schedule is switched off."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.paused_topics, var.topics)) == 0
    error_message = "paused_topics: expected some of ${join(", ", var.topics)}, found ${join(", ", var.paused_topics)}."
  }
}

variable "schedule_minutes" {
  description = "Minutes between two scheduled runs of a topic."
  type        = number
  nullable    = false

  validation {
    condition     = var.schedule_minutes >= 2
    error_message = "schedule_minutes: expected at least 2 minutes, found ${var.schedule_minutes}."
  }
}
