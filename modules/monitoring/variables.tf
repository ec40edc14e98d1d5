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

variable "watched_topics" {
  description = "Topics with alarms of their own; those of the environment watch the worst of all topics."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.watched_topics) <= 50
    error_message = "watched_topics: expected at most 50, found ${length(var.watched_topics)}."
  }
}

variable "runbook_url" {
  description = "Page that alarms link to; the name of the alarm is the anchor."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.runbook_url) > 0 && !strcontains(var.runbook_url, "#")
    error_message = "runbook_url: expected a page without anchor, found \"${var.runbook_url}\"."
  }
}

variable "source_retention_days" {
  description = "Days that the source queue keeps a message."
  type        = number
  nullable    = false

  validation {
    condition     = var.source_retention_days >= 1 && var.source_retention_days <= 14
    error_message = "source_retention_days: expected 1 to 14 days, found ${var.source_retention_days}."
  }
}

variable "dead_letter_retention_days" {
  description = "Days that the dead-letter queue keeps a message."
  type        = number
  nullable    = false

  validation {
    condition     = var.dead_letter_retention_days - var.source_retention_days >= 2 && var.dead_letter_retention_days <= 14
    error_message = "dead_letter_retention_days: expected at least two days more than source_retention_days, and at most 14, found ${var.dead_letter_retention_days}."
  }
}

variable "buffer_interval_s" {
  description = "Seconds that Firehose collects records for a commit."
  type        = number
  nullable    = false

  validation {
    condition     = var.buffer_interval_s >= 0 && var.buffer_interval_s <= 900
    error_message = "buffer_interval_s: expected 0 to 900 seconds, found ${var.buffer_interval_s}."
  }
}

variable "schedule_minutes" {
  description = "Minutes between two runs of the pipeline."
  type        = number
  nullable    = false

  validation {
    condition     = var.schedule_minutes >= 1 && var.schedule_minutes <= 1440
    error_message = "schedule_minutes: expected 1 to 1440 minutes, found ${var.schedule_minutes}."
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

variable "monthly_budget_usd" {
  description = "USD that a month of the environment may cost; 0 for no budget."
  type        = number
  nullable    = false

  validation {
    condition     = var.monthly_budget_usd >= 0 && var.monthly_budget_usd <= 1000000
    error_message = "monthly_budget_usd: expected 0 (no budget) to 1000000 USD, found ${var.monthly_budget_usd}."
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
