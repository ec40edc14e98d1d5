variable "project" {
  description = "First part of every resource name."
  type        = string
  default     = "lean-ops"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.project)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)", var.project))
    error_message = "project: expected 3 to 20 lower-case letters, digits and hyphens, starting with a letter and with no prefix that S3 keeps for itself (xn--, sthree-, amzn-s3-demo-); found \"${var.project}\"."
  }
}

variable "environment" {
  description = "Environment that is deployed: dev, staging or prod."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment: expected dev, staging or prod, found \"${var.environment}\"."
  }

  validation {
    condition     = contains(["default", var.environment], terraform.workspace)
    error_message = "environment: expected the workspace \"default\" or \"${var.environment}\", found \"${terraform.workspace}\"; select the workspace or the tfvars file that belongs to it."
  }
}

variable "region" {
  description = "AWS region of every resource."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: expected an AWS region such as eu-west-1, found \"${var.region}\"."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds every role (infra/bootstrap makes one); null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: expected the ARN of an IAM policy or null."
  }
}

variable "build_directory" {
  description = "Folder that `make build` wrote; null for modules/compute/.build."
  type        = string
  default     = null

  validation {
    condition = try(length(setsubtract(
      keys(jsondecode(file("${path.root}/modules/compute/functions.json")).functions),
      keys(jsondecode(file("${coalesce(var.build_directory, "${path.root}/modules/compute/.build")}/manifest.json")).functions),
    )) == 0, false)
    error_message = "The functions are not built: run make build."
  }
}

variable "topics" {
  description = "Topics beside `events` and those with a file in contracts/; they stop at Curated."
  type        = set(string)
  default     = []

  # Of files in contracts/ as well: their names are topics.
  validation {
    condition     = length([for topic in setunion(var.topics, keys(local.contract_files)) : topic if !can(regex("^[a-z][a-z0-9_]{0,29}$", topic))]) == 0
    error_message = "topics: expected names of 1 to 30 lower-case letters, digits and underscores, starting with a letter; found ${join(", ", [for topic in setunion(var.topics, keys(local.contract_files)) : topic if !can(regex("^[a-z][a-z0-9_]{0,29}$", topic))])}."
  }

  validation {
    condition     = length(setintersection(setunion(var.topics, keys(local.contract_files)), local.function_names)) == 0
    error_message = "topics: expected names that no function has, so that nobody takes one's stream for the other; found ${join(", ", setintersection(setunion(var.topics, keys(local.contract_files)), local.function_names))}."
  }

  # The views curated_<topic>_current would have the names of such a topic's tables.
  validation {
    condition     = length([for topic in setunion(var.topics, keys(local.contract_files)) : topic if endswith(topic, "_current")]) == 0
    error_message = "topics: expected names that do not end in _current, as views of tables do; found ${join(", ", [for topic in setunion(var.topics, keys(local.contract_files)) : topic if endswith(topic, "_current")])}."
  }
}

variable "spark" {
  description = "Whether backlogs that outgrow a function run on Spark: an application of EMR Serverless, which costs nothing while no job runs (docs/scale.md)."
  type        = bool
  default     = false
}

variable "spark_maximum_vcpus" {
  description = "Vcpus that all jobs on Spark have at once at most: a driver and eight executors of 4. The account's quota is 16 until it is raised."
  type        = number
  default     = 36

  validation {
    condition     = var.spark_maximum_vcpus >= 8 && var.spark_maximum_vcpus <= 4000 && floor(var.spark_maximum_vcpus / 4) * 4 == var.spark_maximum_vcpus
    error_message = "spark_maximum_vcpus: expected a multiple of 4, 8 to 4000: a driver and executors of 4 vcpus each; found ${var.spark_maximum_vcpus}."
  }
}

variable "paused_topics" {
  description = "Topics that no run is started for by itself; events still arrive in RAW, and `lean-ops run` runs them."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.paused_topics, keys(local.topics))) == 0
    error_message = "paused_topics: expected topics of this environment, found ${join(", ", setsubtract(var.paused_topics, keys(local.topics)))}."
  }
}

variable "watched_topics" {
  description = "Topics with metrics and alarms of their own, about 7 USD a month each; the alarms of the environment watch the worst of all topics."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.watched_topics, keys(local.topics))) == 0 && length(var.watched_topics) <= 50
    error_message = "watched_topics: expected at most 50 topics of this environment, found ${length(var.watched_topics)}: ${join(", ", setsubtract(var.watched_topics, keys(local.topics)))} are none."
  }
}

variable "iot_topic_filter" {
  description = "MQTT topic filter whose messages go to the source queue, such as devices/+/events; null for none."
  type        = string
  default     = null

  validation {
    condition = var.iot_topic_filter == null || (
      can(regex("^(([A-Za-z0-9_:.-]+|[+])/){0,7}([A-Za-z0-9_:.-]+|[+]|#)$", var.iot_topic_filter)) &&
      length(coalesce(var.iot_topic_filter, "-")) <= 256
    )
    error_message = "iot_topic_filter: expected null or an MQTT topic filter of at most 256 characters and 8 levels such as devices/+/events, where + stands for a whole level and # for all levels at the end; found \"${coalesce(var.iot_topic_filter, "null")}\"."
  }
}

variable "batch_size" {
  description = "Messages that one invocation of sqs_processor takes at most."
  type        = number
  default     = 1000

  validation {
    condition     = var.batch_size >= 10 && var.batch_size <= 10000 && floor(var.batch_size) == var.batch_size
    error_message = "batch_size: expected a whole number from 10 to 10000, found ${var.batch_size}."
  }
}

variable "batching_window_s" {
  description = "Seconds that Lambda gathers messages before it invokes sqs_processor."
  type        = number
  default     = 5

  validation {
    condition     = var.batching_window_s >= 1 && var.batching_window_s <= 300 && floor(var.batching_window_s) == var.batching_window_s
    error_message = "batching_window_s: expected a whole number, 1 to 300 seconds (batches over 10 messages need a window), found ${var.batching_window_s}."
  }
}

variable "maximum_concurrency" {
  description = "Batches that are processed at once at most."
  type        = number
  default     = 10

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000 && floor(var.maximum_concurrency) == var.maximum_concurrency
    error_message = "maximum_concurrency: expected a whole number, 2 to 1000 (limits of the event source mapping), found ${var.maximum_concurrency}."
  }
}

variable "max_receive_count" {
  description = "Tries of a message before it goes to the dead-letter queue."
  type        = number
  default     = 6

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000 && floor(var.max_receive_count) == var.max_receive_count
    error_message = "max_receive_count: expected a whole number, 5 to 1000 (fewer sends good messages to the dead-letter queue when Lambda throttles), found ${var.max_receive_count}."
  }
}

variable "source_retention_days" {
  description = "Days that the source queue keeps a message."
  type        = number
  default     = 4

  validation {
    condition     = var.source_retention_days >= 1 && var.source_retention_days <= 4 && floor(var.source_retention_days) == var.source_retention_days
    error_message = "source_retention_days: expected a whole number, 1 to 4 days, found ${var.source_retention_days}; days spent there are missing from the 14 days of the dead-letter queue."
  }
}

variable "dead_letter_retention_days" {
  description = "Days from first send until SQS deletes a dead letter."
  type        = number
  default     = 14

  validation {
    condition     = var.dead_letter_retention_days > var.source_retention_days && var.dead_letter_retention_days <= 14 && floor(var.dead_letter_retention_days) == var.dead_letter_retention_days
    error_message = "dead_letter_retention_days: expected a whole number, more than source_retention_days (${var.source_retention_days}) and at most 14, the longest that SQS keeps a message; found ${var.dead_letter_retention_days}."
  }
}

variable "dead_letter_age_alarm_days" {
  description = "Age of the oldest dead letter, in days since it arrived there, that pages the operator."
  type        = number
  default     = 7

  validation {
    condition     = var.dead_letter_age_alarm_days >= 1 && var.dead_letter_age_alarm_days <= var.dead_letter_retention_days - var.source_retention_days && floor(var.dead_letter_age_alarm_days) == var.dead_letter_age_alarm_days
    error_message = "dead_letter_age_alarm_days: expected a whole number, 1 to ${var.dead_letter_retention_days - var.source_retention_days} (retention of the dead-letter queue less that of the source queue, after which a message may be gone), found ${var.dead_letter_age_alarm_days}."
  }
}

variable "error_rate_alarm_percent" {
  description = "Share of failed invocations or messages, in percent, that the circuit breaker is told of."
  type        = number
  default     = 5

  validation {
    condition     = var.error_rate_alarm_percent > 0 && var.error_rate_alarm_percent < 100
    error_message = "error_rate_alarm_percent: expected more than 0 and less than 100 percent, found ${var.error_rate_alarm_percent}."
  }
}

variable "buffer_interval_s" {
  description = "Seconds that Firehose gathers records before a commit to RAW."
  type        = number
  default     = 300

  validation {
    condition     = var.buffer_interval_s >= 0 && var.buffer_interval_s <= 900 && floor(var.buffer_interval_s) == var.buffer_interval_s
    error_message = "buffer_interval_s: expected a whole number, 0 to 900 seconds, found ${var.buffer_interval_s}."
  }
}

variable "buffer_mib" {
  description = "MiB that Firehose gathers before a commit to RAW, if they come before the interval."
  type        = number
  default     = 64

  validation {
    condition     = var.buffer_mib >= 1 && var.buffer_mib <= 128 && floor(var.buffer_mib) == var.buffer_mib
    error_message = "buffer_mib: expected a whole number, 1 to 128 MiB, found ${var.buffer_mib}."
  }
}

variable "schedule_minutes" {
  description = "Minutes between two looks at all topics for something to read; a topic is run after a look that finds something."
  type        = number
  default     = 15

  validation {
    condition     = var.schedule_minutes >= 1 && var.schedule_minutes <= 1440 && floor(var.schedule_minutes) == var.schedule_minutes
    error_message = "schedule_minutes: expected a whole number, 1 to 1440 minutes, found ${var.schedule_minutes}."
  }
}

variable "runs_at_once" {
  description = "Topics that the pipeline works on at the same time at most; each takes one Lambda invocation at a time."
  type        = number
  default     = 100

  validation {
    condition     = var.runs_at_once >= 1 && var.runs_at_once <= 1000 && floor(var.runs_at_once) == var.runs_at_once
    error_message = "runs_at_once: expected a whole number, 1 to 1000, found ${var.runs_at_once}."
  }
}

variable "snapshot_retention_days" {
  description = "Days that maintenance keeps snapshots of the tables; a checkpoint older than this reads its source in full."
  type        = number
  default     = 5

  validation {
    condition     = var.snapshot_retention_days >= 1 && var.snapshot_retention_days <= 365 && floor(var.snapshot_retention_days) == var.snapshot_retention_days
    error_message = "snapshot_retention_days: expected a whole number, 1 to 365 days, found ${var.snapshot_retention_days}."
  }
}

variable "orphan_file_retention_days" {
  description = "Age in days from which maintenance deletes files that no snapshot refers to."
  type        = number
  default     = 7

  validation {
    condition     = var.orphan_file_retention_days >= 3 && var.orphan_file_retention_days <= 365 && floor(var.orphan_file_retention_days) == var.orphan_file_retention_days
    error_message = "orphan_file_retention_days: expected a whole number, 3 to 365 days (a running commit's files are not yet referred to), found ${var.orphan_file_retention_days}."
  }
}

variable "delivery_error_retention_days" {
  description = "Days that objects of failed deliveries are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.delivery_error_retention_days >= 14 && var.delivery_error_retention_days <= 3650 && floor(var.delivery_error_retention_days) == var.delivery_error_retention_days
    error_message = "delivery_error_retention_days: expected a whole number, 14 to 3650 days, found ${var.delivery_error_retention_days}."
  }
}

variable "archive_retention_days" {
  description = "Days that archived dead letters are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.archive_retention_days >= 14 && var.archive_retention_days <= 3650 && floor(var.archive_retention_days) == var.archive_retention_days
    error_message = "archive_retention_days: expected a whole number, 14 (as long as the queue keeps them) to 3650 days, found ${var.archive_retention_days}."
  }
}

variable "query_result_retention_days" {
  description = "Days that results of Athena's queries are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.query_result_retention_days >= 1 && var.query_result_retention_days <= 90 && floor(var.query_result_retention_days) == var.query_result_retention_days
    error_message = "query_result_retention_days: expected a whole number, 1 to 90 days, found ${var.query_result_retention_days}."
  }
}

variable "athena_topics" {
  description = "Topics with saved queries in Athena; every topic can be queried, these have the queries of modules/readers/athena at hand."
  type        = set(string)
  default     = ["events"]

  validation {
    condition     = length(setsubtract(var.athena_topics, keys(local.topics))) == 0 && length(var.athena_topics) <= 50
    error_message = "athena_topics: expected at most 50 topics of this environment, found ${length(var.athena_topics)}: ${join(", ", setsubtract(var.athena_topics, keys(local.topics)))} are none."
  }
}

variable "athena_scan_limit_gib" {
  description = "GiB that one query in Athena may scan; it is ended when it has. At 5 USD a TB, 100 GiB are half a dollar."
  type        = number
  default     = 100

  validation {
    condition     = var.athena_scan_limit_gib >= 1 && var.athena_scan_limit_gib <= 7168 && floor(var.athena_scan_limit_gib) == var.athena_scan_limit_gib
    error_message = "athena_scan_limit_gib: expected a whole number, 1 to 7168 GiB (Athena takes at most 7 EB; nobody wants to pay more for one query than 35 USD), found ${var.athena_scan_limit_gib}."
  }
}

variable "log_retention_days" {
  description = "Days that log groups keep their entries."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: expected a period that CloudWatch Logs offers (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827 and on to 3653), found ${var.log_retention_days}."
  }
}

variable "subscriptions" {
  description = "Who hears of an alarm: SNS protocol and endpoint by alarm topic (paging, breaker, chat, governance). Pass endpoints that hold a key by TF_VAR_subscriptions, never by a file."
  type        = map(object({ protocol = string, endpoint = string }))
  default     = {}
  sensitive   = true

  validation {
    condition     = alltrue([for topic in nonsensitive(keys(var.subscriptions)) : contains(["paging", "breaker", "chat", "governance"], topic)])
    error_message = "subscriptions: expected the alarm topics paging, breaker, chat or governance, found ${join(", ", nonsensitive(keys(var.subscriptions)))}."
  }
}

variable "monthly_budget_usd" {
  description = "USD that a month of the environment may cost: at 80 % spent or 100 % forecast the alarm topic chat hears of it; 0 for no budget."
  type        = number
  default     = 0

  validation {
    condition     = var.monthly_budget_usd >= 0 && var.monthly_budget_usd <= 1000000
    error_message = "monthly_budget_usd: expected 0 (no budget) to 1000000 USD, found ${var.monthly_budget_usd}."
  }
}

variable "runbook_url" {
  description = "Where operators read docs/runbook.md; alarms link to it, the name of the alarm as anchor."
  type        = string
  default     = "docs/runbook.md"

  validation {
    condition     = length(var.runbook_url) > 0 && length(var.runbook_url) <= 400 && !strcontains(var.runbook_url, "#")
    error_message = "runbook_url: expected a page of at most 400 characters (an alarm's description takes 1,024) without anchor, such as https://example.com/runbook, found \"${var.runbook_url}\"."
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
