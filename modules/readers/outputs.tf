output "snowflake_roles" {
  description = "ARN of each role that Snowflake takes: storage, catalog; none while it is not set up."
  value       = { for name, role in module.snowflake_role : name => role.arn }
}

output "snowflake_setup" {
  description = "What `lean-ops snowflake setup` needs to know of the environment; the roles have these ARNs once they exist."
  value = {
    account          = var.environment.policy_values.account
    region           = var.environment.policy_values.region
    database         = var.database
    lake_bucket      = var.lake_bucket
    storage_role_arn = "arn:${var.environment.policy_values.partition}:iam::${var.environment.policy_values.account}:role/${var.environment.name_prefix}-snowflake-storage"
    catalog_role_arn = "arn:${var.environment.policy_values.partition}:iam::${var.environment.policy_values.account}:role/${var.environment.name_prefix}-snowflake-catalog"
  }
}

output "athena_workgroup" {
  description = "Workgroup of Athena that queries the tables."
  value       = aws_athena_workgroup.this.name
}

output "athena_reader_policy" {
  description = "Policy of who queries in the workgroup, as JSON: for permission sets and roles of people, which are not this project's."
  value       = jsonencode(jsondecode(templatefile("${path.module}/../../infra/policies/athena-reader.json", var.environment.policy_values)))
}
