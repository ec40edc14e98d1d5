output "snowflake_roles" {
  description = "ARN of each role that Snowflake takes: storage, catalog; none while it is not set up."
  value       = { for name, role in module.snowflake_role : name => role.arn }
}

output "athena_workgroup" {
  description = "Workgroup of Athena that queries the tables."
  value       = aws_athena_workgroup.this.name
}

output "athena_reader_policy" {
  description = "Policy of who queries in the workgroup, as JSON: for permission sets and roles of people, which are not this project's."
  value       = jsonencode(jsondecode(templatefile("${path.module}/../../infra/policies/athena-reader.json", var.environment.policy_values)))
}
