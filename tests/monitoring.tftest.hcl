# Each alarm of the plan: metric, threshold, period and who is told.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name_prefix                = "lean-ops-dev"
  kms_key_arn                = "arn:aws:kms:eu-west-1:000000000000:key/mock"
  source_queue               = "lean-ops-dev-source"
  dead_letter_queue          = "lean-ops-dev-dlq"
  drift_log_table            = "lean-ops-dev-drift-log"
  state_machine_arn          = "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-dev-pipeline"
  processor_function         = "lean-ops-dev-sqs-processor"
  dead_letter_age_alarm_days = 7
  error_rate_alarm_percent   = 5
  subscriptions              = { governance = { protocol = "email", endpoint = "owners@example.com" } }

  policy_values = {
    partition   = "aws"
    region      = "eu-west-1"
    account     = "000000000000"
    project     = "lean-ops"
    env         = "dev"
    name_prefix = "lean-ops-dev"
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

run "alarms" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    # As JSON, since HCL tells lists from tuples.
    condition = jsonencode({
      for name, alarm in aws_cloudwatch_metric_alarm.this : name => {
        threshold = alarm.threshold
        target    = one([for arn in alarm.alarm_actions : element(split(":", arn), 5)])
        metrics   = [for query in alarm.metric_query : "${query.metric[0].namespace} ${query.metric[0].metric_name} ${query.metric[0].stat} ${query.metric[0].period}" if length(query.metric) > 0]
        of        = [for query in alarm.metric_query : values(query.metric[0].dimensions) if length(query.metric) > 0]
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

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.comparison_operator == "GreaterThanThreshold" && alarm.treat_missing_data == "notBreaching" && startswith(alarm.alarm_name, "lean-ops-dev-")])
    error_message = "alarms: expected names of the environment, a strict threshold, and silence where there is no data."
  }

  # CloudWatch: a query returns data once, and an alarm looks back a day at most below an hour's period.
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length([for query in alarm.metric_query : query if query.return_data]) == 1])
    error_message = "alarms: expected exactly one query of each to return data."
  }
}

run "panels" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.title] == ["Ingestion throughput", "Dead-letter queue", "State machine", "Snowflake queries on Semantic"]
    error_message = "dashboard: expected the plan's four panels."
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "$${")
    error_message = "dashboard: expected every placeholder to be filled."
  }

  assert {
    condition     = nonsensitive(aws_sns_topic_subscription.this["governance"].endpoint) == "owners@example.com"
    error_message = "subscriptions: expected the endpoint at its topic."
  }
}
