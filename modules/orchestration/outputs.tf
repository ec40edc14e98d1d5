output "state_machine_arn" {
  description = "ARN of the pipeline's state machine."
  value       = aws_sfn_state_machine.pipeline.arn
}

output "schedule_group" {
  description = "Name of the environment's schedule group."
  value       = aws_scheduler_schedule_group.this.name
}
