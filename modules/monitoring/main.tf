locals {
  static = jsondecode(file("${path.module}/catalogue.json"))

  # Keys come from the file as it stands and are known in every plan; names and thresholds are filled in.
  catalogue = jsondecode(templatefile("${path.module}/catalogue.json", {
    project                    = var.policy_values["project"]
    env                        = var.policy_values["env"]
    name_prefix                = var.name_prefix
    source_queue               = var.source_queue
    dead_letter_queue          = var.dead_letter_queue
    drift_log_table            = var.drift_log_table
    state_machine_arn          = var.state_machine_arn
    processor_function         = var.processor_function
    dead_letter_age_alarm_days = var.dead_letter_age_alarm_days
    dead_letter_age_alarm_s    = var.dead_letter_age_alarm_days * 86400
    error_rate_alarm_percent   = var.error_rate_alarm_percent
  }))
}

resource "aws_sns_topic" "this" {
  for_each = local.static.topics

  name              = "${var.name_prefix}-${each.key}"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_policy" "this" {
  for_each = aws_sns_topic.this

  arn    = each.value.arn
  policy = templatefile("${path.module}/../../infra/policies/alarm-topic.json", merge(var.policy_values, { topic_name = each.value.name }))
}

resource "aws_sns_topic_subscription" "this" {
  for_each = nonsensitive(toset(keys(var.subscriptions)))

  topic_arn = aws_sns_topic.this[each.key].arn
  protocol  = var.subscriptions[each.key].protocol
  endpoint  = var.subscriptions[each.key].endpoint
}

# Every alarm is written as metric queries, so that one metric and an expression over two look alike.
resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.static.alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = local.catalogue.alarms[each.key].description
  comparison_operator = each.value.comparison
  threshold           = tonumber(local.catalogue.alarms[each.key].threshold)
  evaluation_periods  = each.value.evaluation_periods
  datapoints_to_alarm = each.value.datapoints_to_alarm
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this[each.value.topic].arn]
  ok_actions          = [aws_sns_topic.this[each.value.topic].arn]

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id          = metric_query.value.id
      return_data = !can(each.value.expression)

      metric {
        namespace   = local.catalogue.alarms[each.key].metrics[metric_query.key].namespace
        metric_name = metric_query.value.name
        dimensions  = local.catalogue.alarms[each.key].metrics[metric_query.key].dimensions
        stat        = metric_query.value.statistic
        period      = each.value.period_s
      }
    }
  }

  dynamic "metric_query" {
    for_each = can(each.value.expression) ? [each.value.expression] : []

    content {
      id          = "rate"
      label       = "percent"
      expression  = metric_query.value
      return_data = true
    }
  }
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name_prefix

  dashboard_body = jsonencode({
    widgets = [
      for index, panel in local.catalogue.panels : {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title  = panel.title
          view   = "timeSeries"
          region = var.policy_values["region"]
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
              [{ expression = metric.expression, label = metric.label }],
            )
          ]
        }
      }
    ]
  })
}
