# Spark is off unless it is asked for; on, jobs have an application, a role, a log and their artefacts.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  environment = "dev"
  region      = "eu-west-1"
}

run "off_there_is_nothing_of_it_and_the_look_up_chooses_functions" {
  command = plan

  assert {
    condition     = length(module.spark) == 0 && !output.spark
    error_message = "spark: expected no application where it is not asked for."
  }
}

run "on_the_state_machine_and_the_look_up_know_it" {
  command = plan

  variables {
    spark = true
  }

  assert {
    condition     = length(module.spark) == 1 && output.spark
    error_message = "spark: expected one application."
  }

  assert {
    condition = alltrue([
      for job in ["curation", "semantic"] : alltrue([
        for said in [
          "--conf spark.archives=s3://lean-ops-dev-lake-000000000000/artifacts/spark/spark-",
          "--conf spark.emr-serverless.driverEnv.PYSPARK_PYTHON=/usr/bin/python3.13",
          "--conf spark.emr-serverless.driverEnv.LEAN_OPS_BATCH_ROWS=200000000",
          "--conf spark.emr-serverless.driverEnv.LEAN_OPS_DATABASE=lean_ops_dev",
          "--conf spark.emr-serverless.driverEnv.LEAN_OPS_ENV=dev",
          "--conf spark.python.daemon.module=spark.daemon",
        ] : strcontains(module.spark[0].parameters[job], said)
      ])
    ])
    error_message = "parameters: expected packages, interpreter, and the environment of the job's function with what the job has in its place."
  }

  assert {
    condition     = module.spark[0].entry_point == "s3://lean-ops-dev-lake-000000000000/artifacts/spark/entry.py"
    error_message = "entry_point: expected the file of the lake bucket."
  }
}

run "the_application_costs_nothing_at_rest_and_is_bounded" {
  command = plan

  module {
    source = "./modules/spark"
  }

  variables {
    environment = {
      name_prefix              = "lean-ops-dev"
      kms_key_arn              = "arn:aws:kms:eu-west-1:000000000000:key/mock"
      permissions_boundary_arn = null
      log_retention_days       = 365

      policy_values = {
        partition   = "aws"
        region      = "eu-west-1"
        account     = "000000000000"
        project     = "lean-ops"
        env         = "dev"
        name_prefix = "lean-ops-dev"
        database    = "lean_ops_dev"
        lake_bucket = "lean-ops-dev-lake-000000000000"
        kms_key_arn = "arn:aws:kms:eu-west-1:000000000000:key/mock"
      }
    }

    lake_bucket   = "lean-ops-dev-lake-000000000000"
    maximum_vcpus = 36
    release       = "emr-spark-8.1.0"
    architecture  = "ARM64"
    runtime       = "python3.13"
    settings      = { "spark.speculation" = "false" }
    jobs          = { curation = { LEAN_OPS_ENV = "dev" }, semantic = { LEAN_OPS_ENV = "dev" } }
    archive       = { directory = "build", name = "spark-0a.zip", sha256 = "x" }
  }

  assert {
    condition = (
      length(aws_emrserverless_application.this.initial_capacity) == 0 &&
      aws_emrserverless_application.this.auto_start_configuration[0].enabled &&
      aws_emrserverless_application.this.auto_stop_configuration[0].enabled &&
      aws_emrserverless_application.this.auto_stop_configuration[0].idle_timeout_minutes == 5
    )
    error_message = "application: expected no capacity that waits, a start by the first job and a stop after the last."
  }

  assert {
    condition     = aws_emrserverless_application.this.architecture == "ARM64" && aws_emrserverless_application.this.release_label == "emr-spark-8.1.0" && aws_emrserverless_application.this.type == "SPARK"
    error_message = "application: expected the catalogue's release and CPU."
  }

  assert {
    condition     = aws_emrserverless_application.this.maximum_capacity[0].cpu == "36 vCPU" && aws_emrserverless_application.this.maximum_capacity[0].memory == "216 GB"
    error_message = "maximum_capacity: expected vcpus to bind before memory."
  }

  assert {
    condition = (
      aws_cloudwatch_log_group.jobs.name == "/aws/emr-serverless/lean-ops-dev-spark" &&
      aws_cloudwatch_log_group.jobs.retention_in_days == 365 &&
      aws_cloudwatch_log_group.jobs.kms_key_id == var.environment.kms_key_arn &&
      !aws_emrserverless_application.this.monitoring_configuration[0].managed_persistence_monitoring_configuration[0].enabled
    )
    error_message = "logs: expected one encrypted group with the environment's retention, and no other store."
  }

  assert {
    condition     = aws_s3_object.archive.key == "artifacts/spark/spark-0a.zip"
    error_message = "archive: expected it under its own name."
  }
}
