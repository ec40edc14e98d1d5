locals {
  static = jsondecode(file("${path.module}/catalogue.json"))

  # Functions that nobody waits for, because a schedule or an alarm invokes them: their errors need an alarm.
  functions = jsondecode(file("${path.module}/../compute/functions.json")).functions
  watched   = [for name, function in local.functions : replace(name, "_", "-") if can(function.schedule) || can(function.alarm_topics)]

  # An alarm of topics is one on the worst of all, and one of its own for each topic that is watched.
  subjects = { none = [""], topic = concat([""], sort(var.watched_topics)), function = local.watched }

  # Keys come from the file as it stands and are known in every plan; names and thresholds are filled in.
  alarms = merge([
    for entry, alarm in local.static.alarms : {
      for subject in local.subjects[try(alarm.per, "none")] :
      join("-", compact([entry, replace(subject, "_", "-")])) => { entry = entry, subject = subject }
    }
  ]...)

  values = {
    project                    = var.environment.policy_values["project"]
    env                        = var.environment.policy_values["env"]
    name_prefix                = var.environment.name_prefix
    source_queue               = var.source_queue
    dead_letter_queue          = var.dead_letter_queue
    drift_log_table            = var.drift_log_table
    state_machine_arn          = var.state_machine_arn
    processor_function         = var.processor_function
    source_retention_days      = var.source_retention_days
    dead_letter_age_alarm_days = var.dead_letter_age_alarm_days
    dead_letter_age_alarm_s    = var.dead_letter_age_alarm_days * 86400
    # A day before the first can go: a redriven message expires by the day it entered the source queue.
    dead_letter_expiry_alarm_s = (var.dead_letter_retention_days - var.source_retention_days - 1) * 86400
    error_rate_alarm_percent   = var.error_rate_alarm_percent
    raw_behind_s               = max(600, 2 * var.buffer_interval_s)
    layer_behind_s             = 3 * 60 * var.schedule_minutes
  }

  rendered = {
    for key, alarm in local.alarms : key => jsondecode(templatefile("${path.module}/catalogue.json", merge(local.values, {
      topic    = alarm.subject == "" ? "a topic" : alarm.subject
      function = alarm.subject
    }))).alarms[alarm.entry]
  }

  panels = jsondecode(templatefile("${path.module}/catalogue.json", merge(local.values, { topic = "", function = "" }))).panels

  queries    = { for file in fileset("${path.module}/queries", "*.logsinsights") : trimsuffix(file, ".logsinsights") => file("${path.module}/queries/${file}") }
  log_groups = sort([for name in keys(local.functions) : "/aws/lambda/${var.environment.name_prefix}-${replace(name, "_", "-")}"])
}

resource "aws_sns_topic" "this" {
  for_each = local.static.topics

  name              = "${var.environment.name_prefix}-${each.key}"
  kms_master_key_id = var.environment.kms_key_arn
}

resource "aws_sns_topic_policy" "this" {
  for_each = aws_sns_topic.this

  arn    = each.value.arn
  policy = templatefile("${path.module}/../../infra/policies/alarm-topic.json", merge(var.environment.policy_values, { topic_name = each.value.name }))
}

resource "aws_sns_topic_subscription" "this" {
  for_each = nonsensitive(toset(keys(var.subscriptions)))

  topic_arn = aws_sns_topic.this[each.key].arn
  protocol  = var.subscriptions[each.key].protocol
  endpoint  = var.subscriptions[each.key].endpoint
}

# Every alarm is written as metric queries, so that one metric and an expression over two look alike.
resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.environment.name_prefix}-${each.key}"
  alarm_description   = "${local.rendered[each.key].description}. Runbook: ${var.runbook_url}#${each.value.entry}"
  comparison_operator = local.rendered[each.key].comparison
  threshold           = tonumber(local.rendered[each.key].threshold)
  evaluation_periods  = local.rendered[each.key].evaluation_periods
  datapoints_to_alarm = local.rendered[each.key].datapoints_to_alarm
  treat_missing_data  = local.rendered[each.key].missing_data
  alarm_actions       = [aws_sns_topic.this[local.rendered[each.key].topic].arn]
  ok_actions          = [aws_sns_topic.this[local.rendered[each.key].topic].arn]

  dynamic "metric_query" {
    for_each = local.rendered[each.key].metrics

    content {
      id          = metric_query.value.id
      return_data = !can(local.rendered[each.key].expression)

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions = merge(
          metric_query.value.dimensions,
          try(local.static.alarms[each.value.entry].per, "") == "topic" && each.value.subject != "" ? { topic = each.value.subject } : {},
        )
        stat   = metric_query.value.statistic
        period = local.rendered[each.key].period_s
      }
    }
  }

  dynamic "metric_query" {
    for_each = can(local.rendered[each.key].expression) ? [local.rendered[each.key].expression] : []

    content {
      id          = "result"
      label       = each.value.entry
      expression  = metric_query.value
      return_data = true
    }
  }
}

resource "aws_cloudwatch_query_definition" "this" {
  for_each = local.queries

  name            = "${var.environment.name_prefix}/${each.key}"
  query_string    = each.value
  log_group_names = local.log_groups
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.environment.name_prefix

  dashboard_body = jsonencode({
    widgets = concat(
      [
        for index, panel in local.panels : {
          type   = "metric"
          x      = 12 * (index % 2)
          y      = 6 * floor(index / 2)
          width  = 12
          height = 6
          properties = {
            title  = panel.title
            view   = "timeSeries"
            region = var.environment.policy_values["region"]
            period = panel.period_s
            yAxis  = { left = { label = panel.left_label, min = 0 }, right = { label = try(panel.right_label, ""), min = 0 } }
            metrics = [
              # A metric of its own, or an expression over those of the panel.
              for metric in panel.metrics : try(
                concat(
                  [metric.namespace, metric.name],
                  flatten([for name, value in metric.dimensions : [name, value]]),
                  [{
                    id      = metric.id
                    label   = try(metric.label, metric.name)
                    stat    = metric.statistic
                    yAxis   = try(metric.axis, "left")
                    visible = try(metric.visible, true)
                  }],
                ),
                [{ expression = metric.expression, label = metric.label, yAxis = try(metric.axis, "left") }],
              )
            ]
          }
        }
      ],
      [
        {
          type   = "log"
          x      = 0
          y      = 6 * ceil(length(local.panels) / 2)
          width  = 24
          height = 6
          properties = {
            title  = "Errors in the logs of all functions"
            view   = "table"
            region = var.environment.policy_values["region"]
            query  = "${join(" | ", [for group in local.log_groups : "SOURCE '${group}'"])} | ${local.queries["errors"]}"
          }
        }
      ],
    )
  })
}
