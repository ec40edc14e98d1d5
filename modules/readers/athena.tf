# Athena reads every table. Whoever queries in this workgroup has its limits and its place for results, whatever the
# client says; saved queries are files of athena/, one a topic, and of athena/operations/, one an environment. Views are
# upkeep's (docs/adr/0025).
locals {
  queries = { for file in fileset("${path.module}/athena", "*.sql") : trimsuffix(file, ".sql") => "${path.module}/athena/${file}" }

  of_operations = {
    for file in fileset("${path.module}/athena/operations", "*.sql") :
    "operations/${trimsuffix(file, ".sql")}" => file("${path.module}/athena/operations/${file}")
  }

  # Without a contract a topic has no Semantic and no Quarantine.
  saved_queries = merge(local.of_operations, [
    for topic in var.athena_topics : {
      for name, path in local.queries : "${topic}/${name}" => templatefile(path, { topic = topic, database = var.database })
      if contains(var.topics_with_contract, topic) || !can(regex("(semantic|quarantine)_", file(path)))
    }
  ]...)
}

resource "aws_athena_workgroup" "this" {
  name        = var.environment.name_prefix
  description = "Queries on the tables of ${var.environment.name_prefix}"
  # It holds saved queries and the history of queries alone; results expire by themselves.
  force_destroy = true

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.athena_scan_limit_gib * 1024 * 1024 * 1024

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location       = "s3://${var.lake_bucket}/athena-results/"
      expected_bucket_owner = var.environment.policy_values.account

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.environment.kms_key_arn
      }
    }
  }

  # Beside those of the environment: what queries cost is told apart from what the pipeline costs.
  tags = { Component = "athena" }
}

resource "aws_athena_named_query" "this" {
  for_each = local.saved_queries

  name        = "${var.environment.name_prefix}/${each.key}"
  description = trimprefix(split("\n", each.value)[0], "-- ")
  workgroup   = aws_athena_workgroup.this.name
  database    = var.database
  query       = each.value
}
