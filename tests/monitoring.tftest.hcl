# Each alarm of the plan: metric, threshold, period and who is told.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  source_queue               = "lean-ops-dev-source"
  dead_letter_queue          = "lean-ops-dev-dlq"
  drift_log_table            = "lean-ops-dev-drift-log"
  state_machine_arn          = "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-dev-pipeline"
  processor_function         = "lean-ops-dev-sqs-processor"
  watched_topics             = ["weather_stations"]
  runbook_url                = "https://example.com/runbook"
  source_retention_days      = 4
  dead_letter_retention_days = 14
  buffer_interval_s          = 60
  schedule_minutes           = 15
  dead_letter_age_alarm_days = 7
  error_rate_alarm_percent   = 5
  monthly_budget_usd         = 50
  subscriptions              = { governance = { protocol = "email", endpoint = "owners@example.com" } }

  environment = {
    name_prefix              = "lean-ops-dev"
    kms_key_arn              = "arn:aws:kms:eu-west-1:000000000000:key/mock"
    permissions_boundary_arn = null
    log_retention_days       = 365

    policy_values = {
      partition   = "aws"
      region      = "eu-west-1"
      account     = "000000000000"
      project     = "lean-ops"
      env         = "dev"
      name_prefix = "lean-ops-dev"
    }
  }
}

override_resource {
  target          = aws_sns_topic.this["paging"]
  override_during = plan
  values          = { arn = "arn:aws:sns:eu-west-1:000000000000:paging" }
}

override_resource {
  target          = aws_sns_topic.this["breaker"]
  override_during = plan
  values          = { arn = "arn:aws:sns:eu-west-1:000000000000:breaker" }
}

override_resource {
  target          = aws_sns_topic.this["chat"]
  override_during = plan
  values          = { arn = "arn:aws:sns:eu-west-1:000000000000:chat" }
}

override_resource {
  target          = aws_sns_topic.this["governance"]
  override_during = plan
  values          = { arn = "arn:aws:sns:eu-west-1:000000000000:governance" }
}

run "alarms_of_the_plan" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    # As JSON, since HCL tells lists from tuples.
    condition = jsonencode({
      for name in ["dead-letter-age", "invocation-error-rate", "message-error-rate", "pipeline-failed", "schema-drift"] : name => {
        threshold = aws_cloudwatch_metric_alarm.this[name].threshold
        target    = one([for arn in aws_cloudwatch_metric_alarm.this[name].alarm_actions : element(split(":", arn), 5)])
        metrics   = [for query in aws_cloudwatch_metric_alarm.this[name].metric_query : "${query.metric[0].namespace} ${query.metric[0].metric_name} ${query.metric[0].stat} ${query.metric[0].period}" if length(query.metric) > 0]
        of        = [for query in aws_cloudwatch_metric_alarm.this[name].metric_query : values(query.metric[0].dimensions) if length(query.metric) > 0]
      }
      }) == jsonencode({
      dead-letter-age = {
        threshold = 604800
        target    = "paging"
        metrics   = ["AWS/SQS ApproximateAgeOfOldestMessage Maximum 300"]
        of        = [["lean-ops-dev-dlq"]]
      }
      invocation-error-rate = {
        threshold = 5
        target    = "breaker"
        metrics   = ["AWS/Lambda Errors Sum 60", "AWS/Lambda Invocations Sum 60"]
        of        = [["lean-ops-dev-sqs-processor"], ["lean-ops-dev-sqs-processor"]]
      }
      message-error-rate = {
        threshold = 5
        target    = "breaker"
        metrics   = ["lean-ops EventsFailed Sum 60", "lean-ops EventsReceived Sum 60"]
        of        = [["dev"], ["dev"]]
      }
      pipeline-failed = {
        threshold = 0
        target    = "chat"
        metrics   = ["AWS/States ExecutionsFailed Sum 300"]
        of        = [["arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-dev-pipeline"]]
      }
      schema-drift = {
        threshold = 0
        target    = "governance"
        metrics   = ["AWS/DynamoDB SuccessfulRequestLatency SampleCount 300"]
        of        = [["PutItem", "lean-ops-dev-drift-log"]]
      }
    })
    error_message = "alarms: expected the plan's, found ${jsonencode({ for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.metric_query })}."
  }
}

run "alarms" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = alltrue([for key, alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name == "lean-ops-dev-${key}"])
    error_message = "alarms: expected names of the environment."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : can(regex("Runbook: https://example.com/runbook#[a-z-]+$", alarm.alarm_description)) && length(alarm.alarm_description) <= 1024])
    error_message = "alarms: expected descriptions of 1,024 characters at most that end with a page of the runbook."
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this : alltrue([
        for entry in [jsondecode(file("modules/monitoring/catalogue.json")).alarms[regex("#([a-z-]+)$", alarm.alarm_description)[0]]] :
        element(split(":", one(alarm.alarm_actions)), 5) == entry.topic &&
        alarm.ok_actions == alarm.alarm_actions &&
        alarm.comparison_operator == entry.comparison &&
        alarm.threshold == try(tonumber(entry.threshold), alarm.threshold) &&
        alarm.evaluation_periods == entry.evaluation_periods &&
        alarm.datapoints_to_alarm == entry.datapoints_to_alarm &&
        toset([for query in alarm.metric_query : "${query.metric[0].metric_name} ${query.metric[0].stat} ${query.metric[0].period}" if length(query.metric) > 0]) ==
        toset([for metric in entry.metrics : "${metric.name} ${metric.statistic} ${entry.period_s}"])
      ])
    ])
    error_message = "alarms: expected each to have its entry's metrics, threshold, periods and target."
  }

  # CloudWatch: a query returns data once, and an alarm looks back a day at most below an hour's period.
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length([for query in alarm.metric_query : query if query.return_data]) == 1])
    error_message = "alarms: expected exactly one query of each to return data."
  }

  assert {
    condition     = toset([for key, alarm in aws_cloudwatch_metric_alarm.this : key if alarm.treat_missing_data == "breaching"]) == toset(["breaker-silent", "observation-silent"])
    error_message = "alarms: expected silence to be an alarm only of those that must never be silent."
  }

  assert {
    condition     = toset([for key in keys(aws_cloudwatch_metric_alarm.this) : key if startswith(key, "records-missing")]) == toset(["records-missing", "records-missing-weather-stations"])
    error_message = "alarms: expected one on the worst of all topics, and one for each that is watched."
  }

  assert {
    condition     = one([for query in aws_cloudwatch_metric_alarm.this["delivery-failed"].metric_query : jsonencode(query.metric[0].dimensions)]) == jsonencode({ environment = "dev" })
    error_message = "alarms: expected the metric of the environment."
  }

  assert {
    condition     = toset([for query in aws_cloudwatch_metric_alarm.this["curated-behind-weather-stations"].metric_query : query.metric[0].dimensions["topic"]]) == toset(["weather_stations"])
    error_message = "alarms: expected the topic by its own name in the dimensions."
  }

  assert {
    condition     = contains(keys(aws_cloudwatch_metric_alarm.this), "function-failing-circuit-breaker") && !contains(keys(aws_cloudwatch_metric_alarm.this), "function-failing-curation")
    error_message = "alarms: expected one for each function that nobody waits for."
  }

  # A redriven message expires 14 days after it entered the source queue, where it may have been for 4.
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["dead-letter-expiry"].threshold == 9 * 86400
    error_message = "dead-letter-expiry: expected a day before the first message can expire, found ${aws_cloudwatch_metric_alarm.this["dead-letter-expiry"].threshold} s."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["semantic-behind"].threshold == 2700
    error_message = "semantic-behind: expected three runs."
  }
}

run "dashboard" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = slice([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.title], 0, 4) == ["Ingestion throughput", "Dead-letter queue", "State machine", "Snowflake queries on Semantic"]
    error_message = "dashboard: expected the plan's four panels first."
  }

  # What stays are CloudWatch's own dynamic labels.
  assert {
    condition     = length(regexall("\\$\\{[^P]", aws_cloudwatch_dashboard.this.dashboard_body)) == 0
    error_message = "dashboard: expected every placeholder to be filled."
  }

  assert {
    condition     = alltrue([for query in aws_cloudwatch_query_definition.this : contains(query.log_group_names, "/aws/lambda/lean-ops-dev-sqs-processor") && startswith(query.name, "lean-ops-dev/")])
    error_message = "queries: expected the log groups of the functions."
  }

  assert {
    condition     = one([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : strcontains(widget.properties.query, "SOURCE '/aws/lambda/lean-ops-dev-semantic'") if widget.type == "log"])
    error_message = "dashboard: expected the errors of all functions in one table."
  }

  assert {
    condition     = nonsensitive(aws_sns_topic_subscription.this["governance"].endpoint) == "owners@example.com"
    error_message = "subscriptions: expected the endpoint at its topic."
  }
}

run "a_budget_tells_chat_of_what_is_spent_and_what_will_be" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    condition = jsonencode({
      for one in aws_budgets_budget.month[0].notification : one.notification_type =>
      "${one.comparison_operator} ${one.threshold} ${one.threshold_type} ${one(one.subscriber_sns_topic_arns)}"
      }) == jsonencode({
      ACTUAL     = "GREATER_THAN 80 PERCENTAGE arn:aws:sns:eu-west-1:000000000000:chat"
      FORECASTED = "GREATER_THAN 100 PERCENTAGE arn:aws:sns:eu-west-1:000000000000:chat"
    })
    error_message = "budget: expected 80 % spent and 100 % forecast to tell chat, found ${jsonencode(aws_budgets_budget.month[0].notification)}."
  }

  assert {
    condition     = join(" ", [for one in [aws_budgets_budget.month[0]] : "${one.name} ${one.budget_type} ${one.time_unit} ${one.limit_amount} ${one.limit_unit}"]) == "lean-ops-dev-month COST MONTHLY 50 USD"
    error_message = "budget: expected 50 USD a month of lean-ops-dev, found ${jsonencode(aws_budgets_budget.month)}."
  }

  assert {
    condition     = jsonencode({ for part in aws_budgets_budget.month[0].filter_expression[0].and : part.tags[0].key => part.tags[0].values }) == jsonencode({ Environment = ["dev"], Project = ["lean-ops"] })
    error_message = "budget: expected the costs of both tags, found ${jsonencode(aws_budgets_budget.month[0].filter_expression)}."
  }
}

run "no_money_is_no_budget" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  variables {
    monthly_budget_usd = 0
  }

  assert {
    condition     = length(aws_budgets_budget.month) == 0
    error_message = "budget: expected none, found one."
  }
}
