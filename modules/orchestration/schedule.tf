module "schedule_role" {
  source = "../role"

  name                     = "${var.environment.name_prefix}-schedule"
  description              = "The scheduler starts a run of each topic"
  service                  = "scheduler.amazonaws.com"
  source_arn               = "arn:${var.environment.policy_values["partition"]}:scheduler:${var.environment.policy_values["region"]}:${var.environment.policy_values["account"]}:schedule-group/${var.environment.name_prefix}"
  policy                   = "schedule"
  policy_values            = var.environment.policy_values
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.environment.name_prefix
}

resource "aws_scheduler_schedule" "topic" {
  for_each = var.topics

  # checkov:skip=CKV_AWS_297:A schedule holds a topic's name and nothing else
  # `run-`, since the schedules of functions share the group: a topic may be called like a function.
  name                = "${var.environment.name_prefix}-run-${replace(each.key, "_", "-")}"
  description         = "A run of topic ${each.key} every ${var.schedule_minutes} minutes"
  group_name          = aws_scheduler_schedule_group.this.name
  schedule_expression = "rate(${var.schedule_minutes} minutes)"
  state               = contains(var.paused_topics, each.key) ? "DISABLED" : "ENABLED"

  # Topics start spread over a few minutes rather than all at once.
  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = max(1, floor(var.schedule_minutes / 5))
  }

  target {
    arn      = aws_sfn_alias.live.arn
    role_arn = module.schedule_role.arn
    input    = jsonencode({ topic = each.key, force = false })

    # The next run makes up for a missed one.
    retry_policy {
      maximum_event_age_in_seconds = var.schedule_minutes * 60
      maximum_retry_attempts       = 3
    }
  }
}
