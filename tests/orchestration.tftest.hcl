# The state machine knows every function by its own ARN; who starts it is the dispatcher.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  checkpoints_table = "lean-ops-dev-checkpoints"

  function_arns = {
    sqs_processor         = "arn:aws:lambda:eu-west-1:000000000000:function:lean-ops-dev-sqs-processor"
    get_all_checkpoints   = "arn:aws:lambda:eu-west-1:000000000000:function:lean-ops-dev-get-all-checkpoints"
    curation              = "arn:aws:lambda:eu-west-1:000000000000:function:lean-ops-dev-curation"
    semantic              = "arn:aws:lambda:eu-west-1:000000000000:function:lean-ops-dev-semantic"
    notify_missing_schema = "arn:aws:lambda:eu-west-1:000000000000:function:lean-ops-dev-notify-missing-schema"
  }

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
}

run "state_machine_names_every_function" {
  command = plan

  module {
    source = "./modules/orchestration"
  }

  assert {
    condition = {
      for name, state in jsondecode(aws_sfn_state_machine.pipeline.definition).States :
      name => state.Parameters.FunctionName if can(state.Parameters.FunctionName)
      } == {
      GetAllCheckpoints   = var.function_arns["get_all_checkpoints"]
      LookUpAfterCuration = var.function_arns["get_all_checkpoints"]
      LookUpAfterSemantic = var.function_arns["get_all_checkpoints"]
      RunCurationJob      = var.function_arns["curation"]
      RunSemanticJob      = var.function_arns["semantic"]
      NotifyMissingSchema = var.function_arns["notify_missing_schema"]
    }
    error_message = "definition: expected each task to name its own function."
  }

  assert {
    condition = alltrue([
      for name in ["UpdateCurationCheckpoint", "UpdateSemanticCheckpoint"] :
      jsondecode(aws_sfn_state_machine.pipeline.definition).States[name].Parameters.TableName == "lean-ops-dev-checkpoints"
    ])
    error_message = "definition: expected both updates to name the table of checkpoints."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipeline.definition).States["ContinueAsNewExecution"].Parameters.StateMachineArn == "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-dev-pipeline:live"
    error_message = "definition: expected a backlog to be continued by the version that is live."
  }

  assert {
    condition     = !strcontains(aws_sfn_state_machine.pipeline.definition, "$${")
    error_message = "definition: expected every placeholder to be filled."
  }

  assert {
    condition     = aws_sfn_state_machine.pipeline.name == "lean-ops-dev-pipeline" && aws_sfn_state_machine.pipeline.logging_configuration[0].level == "ALL" && aws_sfn_state_machine.pipeline.tracing_configuration[0].enabled
    error_message = "state machine: expected lean-ops-dev-pipeline, logged and traced."
  }
}

run "nothing_is_scheduled_for_a_topic" {
  command = plan

  module {
    source = "./modules/orchestration"
  }

  assert {
    condition     = aws_scheduler_schedule_group.this.name == "lean-ops-dev" && aws_sfn_alias.live.name == "live"
    error_message = "orchestration: expected one group of schedules, and the alias that the dispatcher starts."
  }
}

run "without_spark_its_states_lead_nowhere" {
  command = plan

  module {
    source = "./modules/orchestration"
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipeline.definition).States["RunCurationOnSpark"].Parameters.ApplicationId == "none"
    error_message = "definition: expected states that are never entered."
  }
}

run "with_spark_its_states_name_it" {
  command = plan

  module {
    source = "./modules/orchestration"
  }

  variables {
    spark = {
      application_id = "00f1abc"
      job_role_arn   = "arn:aws:iam::000000000000:role/lean-ops-dev-spark"
      entry_point    = "s3://lean-ops-dev-lake-000000000000/artifacts/spark/entry.py"
      parameters     = { curation = "--conf a=curation", semantic = "--conf a=semantic" }
    }
  }

  assert {
    condition = alltrue([
      for state, job in { RunCurationOnSpark = "curation", RunSemanticOnSpark = "semantic" } :
      jsondecode(aws_sfn_state_machine.pipeline.definition).States[state].Parameters.JobDriver.SparkSubmit.SparkSubmitParameters == "--conf a=${job}" &&
      jsondecode(aws_sfn_state_machine.pipeline.definition).States[state].Parameters.ApplicationId == "00f1abc" &&
      jsondecode(aws_sfn_state_machine.pipeline.definition).States[state].Parameters.ExecutionRoleArn == var.spark.job_role_arn
    ])
    error_message = "definition: expected each state to name the application, the jobs' role and its own parameters."
  }
}

run "a_role_with_spark_may_start_follow_and_end_its_jobs" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    name          = "lean-ops-dev-pipeline"
    description   = "x"
    service       = "states.amazonaws.com"
    policy        = "pipeline"
    base          = "pipeline-spark"
    policy_values = merge(var.environment.policy_values, { spark_application_id = "00f1abc" })
  }

  assert {
    condition = toset([
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Sid
    ]) == toset(["RunJobs", "MoveCheckpoints", "ContinueAsNewExecution", "HearOfEndedJobs", "UseKey", "DeliverLogs", "SendTraces", "StartJobs", "FollowAndEndJobs", "HandJobsTheirRole"])
    error_message = "policy: expected the pipeline's own statements and those of jobs."
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.this.policy, "arn:aws:emr-serverless:eu-west-1:000000000000:/applications/00f1abc/jobruns/*")
    error_message = "policy: expected the right to follow and end jobs of this application."
  }
}
