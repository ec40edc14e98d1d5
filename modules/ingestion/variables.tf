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

variable "raw_tables" {
  description = "Name of the RAW table by topic."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.raw_tables) > 0
    error_message = "raw_tables: expected at least one topic, found none."
  }
}

variable "topics" {
  description = "Topics: path of the contract, null for none."
  type        = map(object({ contract = optional(string) }))
  nullable    = false

  validation {
    condition     = toset(keys(var.topics)) == toset(keys(var.raw_tables))
    error_message = "topics: expected those that have a RAW table (${length(var.raw_tables)}), found others (${length(var.topics)})."
  }
}

variable "paused_topics" {
  description = "Topics that no run is started for by itself."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.paused_topics, keys(var.topics))) == 0
    error_message = "paused_topics: expected topics of this environment, found ${join(", ", setsubtract(var.paused_topics, keys(var.topics)))}."
  }
}

variable "watched_topics" {
  description = "Topics with metrics and alarms of their own."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.watched_topics, keys(var.topics))) == 0
    error_message = "watched_topics: expected topics of this environment, found ${join(", ", setsubtract(var.watched_topics, keys(var.topics)))}."
  }
}

variable "lake_bucket" {
  description = "Name of the bucket that the registry of topics is written to."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.lake_bucket))
    error_message = "lake_bucket: expected 3 to 63 lower-case letters, digits and hyphens, found \"${var.lake_bucket}\"."
  }
}

variable "lake_bucket_arn" {
  description = "ARN of the bucket that takes delivery errors."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:s3:::", var.lake_bucket_arn))
    error_message = "lake_bucket_arn: expected the ARN of a bucket, found \"${var.lake_bucket_arn}\"."
  }
}

variable "database" {
  description = "Glue database of the RAW tables."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.database))
    error_message = "database: expected lower-case letters, digits and underscores, found \"${var.database}\"."
  }
}

variable "processor_arn" {
  description = "ARN of the function that takes the queue."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:lambda:", var.processor_arn))
    error_message = "processor_arn: expected the ARN of a function, found \"${var.processor_arn}\"."
  }
}

variable "processor_timeout_s" {
  description = "Timeout in seconds of the function that takes the queue."
  type        = number
  nullable    = false

  validation {
    condition     = var.processor_timeout_s >= 1 && var.processor_timeout_s <= 900
    error_message = "processor_timeout_s: expected 1 to 900 seconds, found ${var.processor_timeout_s}."
  }
}

variable "batch_size" {
  description = "Messages that one invocation takes at most."
  type        = number
  nullable    = false

  validation {
    condition     = var.batch_size >= 10 && var.batch_size <= 10000
    error_message = "batch_size: expected 10 to 10000, found ${var.batch_size}."
  }
}

variable "batching_window_s" {
  description = "Seconds that Lambda gathers messages."
  type        = number
  nullable    = false

  validation {
    condition     = var.batching_window_s >= 1 && var.batching_window_s <= 300
    error_message = "batching_window_s: expected 1 to 300 seconds, found ${var.batching_window_s}."
  }
}

variable "maximum_concurrency" {
  description = "Batches at once at most."
  type        = number
  nullable    = false

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "maximum_concurrency: expected 2 to 1000, found ${var.maximum_concurrency}."
  }
}

variable "max_receive_count" {
  description = "Tries of a message before it goes to the dead-letter queue."
  type        = number
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "max_receive_count: expected 5 to 1000, found ${var.max_receive_count}."
  }
}

variable "source_retention_days" {
  description = "Days that the source queue keeps a message."
  type        = number
  nullable    = false

  validation {
    condition     = var.source_retention_days >= 1 && var.source_retention_days <= 14
    error_message = "source_retention_days: expected 1 to 14 days (limit of SQS), found ${var.source_retention_days}."
  }
}

variable "dead_letter_retention_days" {
  description = "Days from first send until SQS deletes a dead letter."
  type        = number
  nullable    = false

  validation {
    condition     = var.dead_letter_retention_days >= 1 && var.dead_letter_retention_days <= 14
    error_message = "dead_letter_retention_days: expected 1 to 14 days (limit of SQS), found ${var.dead_letter_retention_days}."
  }
}

variable "buffer_interval_s" {
  description = "Seconds that Firehose gathers records before a commit."
  type        = number
  nullable    = false

  validation {
    condition     = var.buffer_interval_s >= 0 && var.buffer_interval_s <= 900
    error_message = "buffer_interval_s: expected 0 to 900 seconds, found ${var.buffer_interval_s}."
  }
}

variable "buffer_mib" {
  description = "MiB that Firehose gathers before a commit."
  type        = number
  nullable    = false

  validation {
    condition     = var.buffer_mib >= 1 && var.buffer_mib <= 128
    error_message = "buffer_mib: expected 1 to 128 MiB, found ${var.buffer_mib}."
  }
}

variable "sources" {
  description = "Descriptions of devices: path of the file by name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.sources) : can(regex("^[a-z][a-z0-9-]{0,39}$", name))])
    error_message = "sources: expected names of 1 to 40 lower-case letters, digits and hyphens, found ${join(", ", keys(var.sources))}; rename the file in sources/."
  }
}

variable "source_descriptors" {
  description = "Compiled descriptor sets of Protobuf for them: path by file name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.source_descriptors) : endswith(name, ".binpb")])
    error_message = "source_descriptors: expected names that end in .binpb, found ${join(", ", keys(var.source_descriptors))}."
  }
}

variable "iot_topic_filter" {
  description = "MQTT topic filter whose messages go to the source queue; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.iot_topic_filter == null || can(regex("^[A-Za-z0-9_/+#:-]{1,256}$", var.iot_topic_filter))
    error_message = "iot_topic_filter: expected an MQTT topic filter or null."
  }
}
