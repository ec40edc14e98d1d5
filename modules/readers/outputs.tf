output "snowflake_roles" {
  description = "ARN of each role that Snowflake takes: storage, catalog; none while it is not set up."
  value       = { for name, role in module.snowflake_role : name => role.arn }
}
