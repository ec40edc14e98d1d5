locals {
  # Stream names take the topic with hyphens, as every resource name does.
  streams = { for topic in keys(var.raw_tables) : topic => "${var.environment.name_prefix}-${replace(topic, "_", "-")}" }
}

module "delivery_role" {
  source   = "../role"
  for_each = local.streams

  # Short, because the longest project, environment and topic together just fit the 64 characters of a role.
  name                     = "${var.environment.name_prefix}-raw-${replace(each.key, "_", "-")}"
  description              = "Firehose appends records of topic ${each.key} to its RAW table"
  service                  = "firehose.amazonaws.com"
  policy                   = "delivery"
  policy_values            = merge(var.environment.policy_values, { topic = each.key, stream_name = each.value })
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_cloudwatch_log_group" "delivery" {
  for_each = local.streams

  name              = "/aws/kinesisfirehose/${each.value}"
  retention_in_days = var.environment.log_retention_days
  kms_key_id        = var.environment.kms_key_arn
}

resource "aws_cloudwatch_log_stream" "delivery" {
  for_each = aws_cloudwatch_log_group.delivery

  name           = "delivery"
  log_group_name = each.value.name
}

resource "aws_kinesis_firehose_delivery_stream" "raw" {
  for_each = local.streams

  name        = each.value
  destination = "iceberg"

  server_side_encryption {
    enabled  = true
    key_type = "CUSTOMER_MANAGED_CMK"
    key_arn  = var.environment.kms_key_arn
  }

  iceberg_configuration {
    role_arn           = module.delivery_role[each.key].arn
    catalog_arn        = "arn:${var.environment.policy_values["partition"]}:glue:${var.environment.policy_values["region"]}:${var.environment.policy_values["account"]}:catalog"
    append_only        = true
    buffering_interval = var.buffer_interval_s
    buffering_size     = var.buffer_mib
    s3_backup_mode     = "FailedDataOnly"

    destination_table_configuration {
      database_name = var.database
      table_name    = var.raw_tables[each.key]
    }

    s3_configuration {
      role_arn            = module.delivery_role[each.key].arn
      bucket_arn          = var.lake_bucket_arn
      error_output_prefix = "delivery-errors/${each.key}/!{firehose:error-output-type}/"
      kms_key_arn         = var.environment.kms_key_arn
    }

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.delivery[each.key].name
      log_stream_name = aws_cloudwatch_log_stream.delivery[each.key].name
    }
  }

  lifecycle {
    # Replacing a stream loses the records that it still buffers.
    prevent_destroy = true
  }
}
