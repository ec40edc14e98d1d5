output "source_queue_url" {
  description = "URL of the queue that devices send to."
  value       = module.ingestion.source_queue_url
}

output "dead_letter_queue_url" {
  description = "URL of the queue of rejected and of repeatedly failed messages."
  value       = module.ingestion.dead_letter_queue_url
}

output "state_machine_arn" {
  description = "ARN of the pipeline; operators start it with {\"topic\": …, \"force\": true}."
  value       = module.orchestration.state_machine_arn
}

output "lake_bucket" {
  description = "Bucket of tables, contracts and delivery errors."
  value       = module.storage.lake_bucket
}

output "database" {
  description = "Glue database of the Iceberg tables."
  value       = module.storage.database
}

output "tables" {
  description = "Names of the Iceberg tables."
  value       = module.storage.tables
}

output "secrets" {
  description = "Secret names by what they hold; their values are set once, by hand (docs/deploy.md)."
  value       = module.encryption.secrets
}

output "alarm_topic_arns" {
  description = "SNS topic ARN by what it is for: paging, breaker, chat, governance."
  value       = module.monitoring.topic_arns
}

output "snowflake_roles" {
  description = "ARN of each role that Snowflake takes (storage, catalog), for infra/snowflake."
  value       = module.readers.snowflake_roles
}

output "snowflake_setup" {
  description = "What `lean-ops snowflake setup` needs to know of the environment; the roles have these ARNs once they exist."
  value       = module.readers.snowflake_setup
}

output "athena_workgroup" {
  description = "Workgroup of Athena that queries the tables."
  value       = module.readers.athena_workgroup
}

output "athena_reader_policy" {
  description = "Policy of who queries in the workgroup, as JSON: for permission sets and roles of people, which are not this project's."
  value       = module.readers.athena_reader_policy
}

output "spark" {
  description = "Whether backlogs that outgrow a function run on Spark."
  value       = length(module.spark) == 1
}
