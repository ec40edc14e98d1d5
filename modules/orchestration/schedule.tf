# Of the functions that start by themselves, the dispatcher among them (modules/compute/triggers.tf).
resource "aws_scheduler_schedule_group" "this" {
  name = var.environment.name_prefix
}
