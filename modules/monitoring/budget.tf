# What carries both tags of the environment, once Billing has been told to count them (docs/deploy.md).
resource "aws_budgets_budget" "month" {
  count = var.monthly_budget_usd > 0 ? 1 : 0

  name         = "${var.environment.name_prefix}-month"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  metrics      = ["UnblendedCost"]

  filter_expression {
    dynamic "and" {
      for_each = { Project = "project", Environment = "env" }

      content {
        tags {
          key    = and.key
          values = [var.environment.policy_values[and.value]]
        }
      }
    }
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type         = notification.key
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [aws_sns_topic.this["chat"].arn]
    }
  }

  # A budget tries out its topic when it is made.
  depends_on = [aws_sns_topic_policy.this]
}
