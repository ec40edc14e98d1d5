output "checkpoints_table" {
  description = "Name of the table of checkpoints and leases."
  value       = aws_dynamodb_table.this["checkpoints"].name
}

output "drift_log_table" {
  description = "Name of the table of schema drift."
  value       = aws_dynamodb_table.this["drift-log"].name
}

output "audit_table" {
  description = "Name of the table of operators' changes."
  value       = aws_dynamodb_table.this["audit"].name
}
