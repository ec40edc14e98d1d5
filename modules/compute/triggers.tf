# What starts a function beside the queue and the state machine, by its entry in functions.json:
# `schedule` an expression of EventBridge Scheduler, `alarm_topics` the alarm topics it hears.
locals {
  # EventBridge's grammar: rate(1 minute), rate(2 minutes).
  schedule_rate = var.schedule_minutes == 1 ? "1 minute" : "${var.schedule_minutes} minutes"

  schedules = {
    for name, function in local.catalogue.functions :
    name => replace(function.schedule, "$${schedule_rate}", local.schedule_rate) if can(function.schedule)
  }

  alarm_listeners = merge([
    for name, function in local.catalogue.functions : {
      for topic in try(function.alarm_topics, []) : "${name}-${topic}" => { function = name, topic = topic }
    }
  ]...)

  # Scheduler and SNS leave an event with Lambda, which then tries by itself.
  asynchronous = toset(concat(keys(local.schedules), [for listener in local.alarm_listeners : listener.function]))
}

module "schedule_role" {
  source   = "../role"
  for_each = local.schedules

  name                     = "${var.environment.name_prefix}-schedule-${replace(each.key, "_", "-")}"
  description              = "The scheduler invokes ${local.names[each.key]}"
  service                  = "scheduler.amazonaws.com"
  source_arn               = "arn:${var.environment.policy_values["partition"]}:scheduler:${var.environment.policy_values["region"]}:${var.environment.policy_values["account"]}:schedule-group/${var.schedule_group}"
  policy                   = "function-schedule"
  policy_values            = merge(var.environment.policy_values, { function_name = local.names[each.key] })
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_scheduler_schedule" "function" {
  for_each = local.schedules

  # checkov:skip=CKV_AWS_297:A schedule holds a constant and nothing else
  name                = local.names[each.key]
  description         = local.catalogue.functions[each.key].description
  group_name          = var.schedule_group
  schedule_expression = each.value

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_alias.live[each.key].arn
    role_arn = module.schedule_role[each.key].arn
    input    = jsonencode({ trigger = "schedule" })

    # The next invocation makes up for a missed one.
    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }
  }
}

resource "aws_sns_topic_subscription" "function" {
  for_each = local.alarm_listeners

  topic_arn = var.alarm_topic_arns[each.value.topic]
  protocol  = "lambda"
  endpoint  = aws_lambda_alias.live[each.value.function].arn

  depends_on = [aws_lambda_permission.alarm]
}

resource "aws_lambda_permission" "alarm" {
  for_each = local.alarm_listeners

  statement_id  = "alarm-${each.value.topic}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_alias.live[each.value.function].function_name
  qualifier     = aws_lambda_alias.live[each.value.function].name
  principal     = "sns.amazonaws.com"
  source_arn    = var.alarm_topic_arns[each.value.topic]
}

# Late news is no news: an event that three tries within an hour could not place is dropped, its errors are
# counted by Lambda, and the next schedule or alarm starts anew.
resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = local.asynchronous

  function_name                = aws_lambda_alias.live[each.key].function_name
  qualifier                    = aws_lambda_alias.live[each.key].name
  maximum_event_age_in_seconds = 3600
  maximum_retry_attempts       = 2
}
