output "state_machine_arn" {
  description = "ARN of the pipeline's state machine."
  value       = aws_sfn_state_machine.pipeline.arn
}

output "live_state_machine_arn" {
  description = "ARN that a run is started with: the machine's alias live. Composed, so that functions which the machine invokes can be told of it."
  value       = local.live_arn
}

output "schedule_group" {
  description = "Name of the environment's schedule group."
  value       = aws_scheduler_schedule_group.this.name
}
