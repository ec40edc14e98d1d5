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

variable "source_queue" {
  description = "Name of the source queue."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.source_queue) > 0
    error_message = "source_queue: expected the name of a queue, found nothing."
  }
}

variable "dead_letter_queue" {
  description = "Name of the dead-letter queue."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.dead_letter_queue) > 0
    error_message = "dead_letter_queue: expected the name of a queue, found nothing."
  }
}

variable "drift_log_table" {
  description = "Name of the table of schema drift."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.drift_log_table) > 0
    error_message = "drift_log_table: expected the name of a table, found nothing."
  }
}

variable "state_machine_arn" {
  description = "ARN of the pipeline."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:states:", var.state_machine_arn))
    error_message = "state_machine_arn: expected the ARN of a state machine, found \"${var.state_machine_arn}\"."
  }
}

variable "processor_function" {
  description = "Name of the function that takes the queue."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.processor_function) > 0
    error_message = "processor_function: expected the name of a function, found nothing."
  }
}

variable "dead_letter_age_alarm_days" {
  description = "Age of the oldest dead letter, in days, that pages the operator."
  type        = number
  nullable    = false

  validation {
    condition     = var.dead_letter_age_alarm_days >= 1 && var.dead_letter_age_alarm_days < 14
    error_message = "dead_letter_age_alarm_days: expected 1 to 13 days, found ${var.dead_letter_age_alarm_days}."
  }
}

variable "error_rate_alarm_percent" {
  description = "Share of failures, in percent, that the circuit breaker is told of."
  type        = number
  nullable    = false

  validation {
    condition     = var.error_rate_alarm_percent > 0 && var.error_rate_alarm_percent < 100
    error_message = "error_rate_alarm_percent: expected more than 0 and less than 100, found ${var.error_rate_alarm_percent}."
  }
}

variable "subscriptions" {
  description = "SNS protocol and endpoint by alarm topic of the catalogue."
  type        = map(object({ protocol = string, endpoint = string }))
  default     = {}
  sensitive   = true

  validation {
    condition     = alltrue([for subscription in values(var.subscriptions) : contains(["https", "email", "lambda", "sqs"], subscription.protocol)])
    error_message = "subscriptions: expected the protocols https, email, lambda or sqs."
  }
}
