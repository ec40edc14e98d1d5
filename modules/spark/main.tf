locals {
  name    = "${var.environment.name_prefix}-spark"
  archive = "s3://${aws_s3_object.archive.bucket}/${aws_s3_object.archive.key}"

  # The release has an interpreter of the functions' version; the archive brings code and libraries, which driver and
  # executors find in their working directories as "job".
  interpreter = "/usr/bin/python${trimprefix(var.runtime, "python")}"
  packaged = {
    "spark.archives"                                       = "${local.archive}#job"
    "spark.emr-serverless.driverEnv.PYTHONPATH"            = "./job"
    "spark.executorEnv.PYTHONPATH"                         = "./job"
    "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON" = local.interpreter
    "spark.emr-serverless.driverEnv.PYSPARK_PYTHON"        = local.interpreter
    "spark.executorEnv.PYSPARK_PYTHON"                     = local.interpreter
  }
}

# Costs nothing while no job runs: there is no capacity that waits.
resource "aws_emrserverless_application" "this" {
  name          = local.name
  release_label = var.release
  type          = "SPARK"
  architecture  = var.architecture

  auto_start_configuration {
    enabled = true
  }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = 5
  }

  # Vcpus bind, memory never before them: a worker of a job has 5 GB a vcpu at most (functions.json).
  maximum_capacity {
    cpu    = "${var.maximum_vcpus} vCPU"
    memory = "${6 * var.maximum_vcpus} GB"
  }

  # One place, one key and one retention: the service's own store of logs is switched off.
  monitoring_configuration {
    cloudwatch_logging_configuration {
      enabled        = true
      log_group_name = aws_cloudwatch_log_group.jobs.name

      log_types {
        name   = "SPARK_DRIVER"
        values = ["STDERR", "STDOUT"]
      }

      log_types {
        name   = "SPARK_EXECUTOR"
        values = ["STDERR"]
      }
    }

    managed_persistence_monitoring_configuration {
      enabled = false
    }
  }
}

resource "aws_cloudwatch_log_group" "jobs" {
  name              = "/aws/emr-serverless/${local.name}"
  retention_in_days = var.environment.log_retention_days
  kms_key_id        = var.environment.kms_key_arn
}

module "job_role" {
  source = "../role"

  name                     = local.name
  description              = "Jobs on Spark do what the functions curation and semantic do"
  service                  = "emr-serverless.amazonaws.com"
  source_arn               = aws_emrserverless_application.this.arn
  policy                   = "spark-job"
  policy_values            = var.environment.policy_values
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

# Named after what is in it: executors of a job that runs never load another code than its driver.
resource "aws_s3_object" "archive" {
  bucket      = var.lake_bucket
  key         = "artifacts/spark/${var.archive.name}"
  source      = "${var.archive.directory}/${var.archive.name}"
  source_hash = var.archive.sha256
}

resource "aws_s3_object" "entry" {
  bucket      = var.lake_bucket
  key         = "artifacts/spark/entry.py"
  source      = "${path.module}/../compute/lambda/spark/entry.py"
  source_hash = filemd5("${path.module}/../compute/lambda/spark/entry.py")
}
