locals {
  name = "${var.environment.name_prefix}-pipeline"

  # Composed: the machine starts itself anew, and functions that it invokes are told of it.
  machine_arn = "arn:${var.environment.policy_values["partition"]}:states:${var.environment.policy_values["region"]}:${var.environment.policy_values["account"]}:stateMachine:${local.name}"
  live_arn    = "${local.machine_arn}:live"
}

module "pipeline_role" {
  source = "../role"

  name                     = local.name
  description              = "The state machine invokes the jobs and moves checkpoints forward"
  service                  = "states.amazonaws.com"
  source_arn               = "${local.machine_arn}*"
  policy                   = "pipeline"
  base                     = var.spark == null ? null : "pipeline-spark"
  policy_values            = merge(var.environment.policy_values, { spark_application_id = try(var.spark.application_id, "none") })
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_cloudwatch_log_group" "pipeline" {
  # Log groups of this prefix do not count against the size limit of the account's log resource policy.
  name              = "/aws/vendedlogs/states/${local.name}"
  retention_in_days = var.environment.log_retention_days
  kms_key_id        = var.environment.kms_key_arn
}

resource "aws_sfn_state_machine" "pipeline" {
  name     = local.name
  role_arn = module.pipeline_role.arn
  type     = "STANDARD"
  publish  = true

  definition = templatefile("${path.module}/pipeline.asl.json", merge(
    { for name, arn in var.function_arns : "${name}_arn" => arn },
    {
      partition         = var.environment.policy_values["partition"]
      checkpoints_table = var.checkpoints_table
      # A backlog is continued by the version that is live, as it was begun.
      state_machine_arn = local.live_arn
      # Of an environment without Spark, states for it are there and are never entered: the look-up chooses functions.
      spark_application_id      = try(var.spark.application_id, "none")
      spark_job_role_arn        = try(var.spark.job_role_arn, "none")
      spark_entry_point         = try(var.spark.entry_point, "none")
      spark_curation_parameters = try(var.spark.parameters["curation"], "none")
      spark_semantic_parameters = try(var.spark.parameters["semantic"], "none")
    },
  ))

  # Data of an execution is topics, snapshot ids and counts, never rows.
  logging_configuration {
    level                  = "ALL"
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.pipeline.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }
}

# The dispatcher starts what this alias points at; to go back a version is to move the alias.
resource "aws_sfn_alias" "live" {
  name        = "live"
  description = "The version that the dispatcher starts"

  routing_configuration {
    state_machine_version_arn = aws_sfn_state_machine.pipeline.state_machine_version_arn
    weight                    = 100
  }
}
