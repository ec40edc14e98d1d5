module "encryption" {
  source = "./modules/encryption"

  name_prefix   = local.name_prefix
  policy_values = local.policy_values
}

module "state" {
  source = "./modules/state"

  environment = local.environment
}

module "storage" {
  source = "./modules/storage"

  environment                   = local.environment
  database                      = local.database
  lake_bucket                   = local.lake_bucket
  topics                        = local.topics
  delivery_error_retention_days = var.delivery_error_retention_days
  archive_retention_days        = var.archive_retention_days
  query_result_retention_days   = var.query_result_retention_days
}

module "ingestion" {
  source = "./modules/ingestion"

  environment                = local.environment
  topics                     = local.topics
  paused_topics              = var.paused_topics
  watched_topics             = var.watched_topics
  raw_tables                 = module.storage.raw_tables
  lake_bucket                = module.storage.lake_bucket
  lake_bucket_arn            = module.storage.lake_bucket_arn
  database                   = module.storage.database
  processor_arn              = module.compute.functions["sqs_processor"].arn
  processor_timeout_s        = module.compute.timeouts_s["sqs_processor"]
  batch_size                 = var.batch_size
  batching_window_s          = var.batching_window_s
  maximum_concurrency        = var.maximum_concurrency
  max_receive_count          = var.max_receive_count
  source_retention_days      = var.source_retention_days
  dead_letter_retention_days = var.dead_letter_retention_days
  buffer_interval_s          = var.buffer_interval_s
  buffer_mib                 = var.buffer_mib
  iot_topic_filter           = var.iot_topic_filter
  sources                    = local.source_files
  source_descriptors         = local.source_descriptors
}

module "compute" {
  source = "./modules/compute"

  environment        = local.environment
  build_directory    = coalesce(var.build_directory, "${path.root}/modules/compute/.build")
  lake_bucket        = module.storage.lake_bucket
  placeholder_values = local.placeholder_values
  schedule_minutes   = var.schedule_minutes
  schedule_group     = module.orchestration.schedule_group
  alarm_topic_arns   = module.monitoring.topic_arns
}

module "orchestration" {
  source = "./modules/orchestration"

  environment       = local.environment
  checkpoints_table = module.state.checkpoints_table
  function_arns     = { for name, function in module.compute.functions : name => function.arn }

  spark = var.spark ? {
    application_id = module.spark[0].application_id
    job_role_arn   = module.spark[0].job_role_arn
    entry_point    = module.spark[0].entry_point
    parameters     = module.spark[0].parameters
  } : null
}

module "spark" {
  source = "./modules/spark"
  count  = var.spark ? 1 : 0

  environment   = local.environment
  lake_bucket   = module.storage.lake_bucket
  maximum_vcpus = var.spark_maximum_vcpus
  release       = module.compute.spark.release
  architecture  = module.compute.spark.architecture
  runtime       = module.compute.spark.runtime
  settings      = module.compute.spark.settings
  jobs          = module.compute.jobs
  archive       = module.compute.spark.archive
}

module "monitoring" {
  source = "./modules/monitoring"

  environment                = local.environment
  source_queue               = module.ingestion.source_queue
  dead_letter_queue          = module.ingestion.dead_letter_queue
  drift_log_table            = module.state.drift_log_table
  state_machine_arn          = module.orchestration.state_machine_arn
  processor_function         = module.compute.functions["sqs_processor"].name
  watched_topics             = var.watched_topics
  runbook_url                = var.runbook_url
  source_retention_days      = var.source_retention_days
  dead_letter_retention_days = var.dead_letter_retention_days
  buffer_interval_s          = var.buffer_interval_s
  schedule_minutes           = var.schedule_minutes
  dead_letter_age_alarm_days = var.dead_letter_age_alarm_days
  error_rate_alarm_percent   = var.error_rate_alarm_percent
  monthly_budget_usd         = var.monthly_budget_usd
  subscriptions              = var.subscriptions
}

module "readers" {
  source = "./modules/readers"

  environment           = local.environment
  database              = module.storage.database
  lake_bucket           = module.storage.lake_bucket
  snowflake             = var.snowflake
  athena_topics         = var.athena_topics
  topics_with_contract  = [for topic, settings in local.topics : topic if settings.contract != null]
  athena_scan_limit_gib = var.athena_scan_limit_gib
}
