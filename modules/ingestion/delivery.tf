locals {
  # Stream names take the topic with hyphens, as every resource name does.
  streams = { for topic in keys(var.raw_tables) : topic => "${var.environment.name_prefix}-${replace(topic, "_", "-")}" }
}

# One role and one log for all streams: a topic adds its stream and its tables, nothing else (docs/adr/0019).
module "delivery_role" {
  source = "../role"

  name                     = "${var.environment.name_prefix}-delivery"
  description              = "Firehose appends records to the RAW tables"
  service                  = "firehose.amazonaws.com"
  policy                   = "delivery"
  policy_values            = var.environment.policy_values
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_cloudwatch_log_group" "delivery" {
  name              = "/aws/kinesisfirehose/${var.environment.name_prefix}-delivery"
  retention_in_days = var.environment.log_retention_days
  kms_key_id        = var.environment.kms_key_arn
}

# Each entry names its stream.
resource "aws_cloudwatch_log_stream" "delivery" {
  name           = "delivery"
  log_group_name = aws_cloudwatch_log_group.delivery.name
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
    role_arn           = module.delivery_role.arn
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
      role_arn            = module.delivery_role.arn
      bucket_arn          = var.lake_bucket_arn
      error_output_prefix = "delivery-errors/${each.key}/!{firehose:error-output-type}/"
      kms_key_arn         = var.environment.kms_key_arn
    }

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.delivery.name
      log_stream_name = aws_cloudwatch_log_stream.delivery.name
    }
  }

  lifecycle {
    # Replacing a stream loses the records that it still buffers.
    prevent_destroy = true
  }
}
