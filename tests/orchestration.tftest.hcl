# The state machine knows every function by its own ARN, and every topic is started on schedule.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  checkpoints_table = "lean-ops-dev-checkpoints"
  topics            = ["events", "weather"]
  paused_topics     = ["weather"]
  schedule_minutes  = 15

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

run "every_topic_is_scheduled_through_the_alias" {
  command = plan

  module {
    source = "./modules/orchestration"
  }

  assert {
    condition = alltrue([
      for topic, schedule in aws_scheduler_schedule.topic :
      schedule.schedule_expression == "rate(15 minutes)" &&
      schedule.target[0].arn == aws_sfn_alias.live.arn &&
      jsondecode(schedule.target[0].input) == { topic = topic, force = false }
    ])
    error_message = "schedules: expected each topic every 15 minutes, through the alias."
  }

  assert {
    condition     = { for topic, schedule in aws_scheduler_schedule.topic : topic => schedule.state } == { events = "ENABLED", weather = "DISABLED" }
    error_message = "schedules: expected the paused topic, and no other, to be disabled."
  }
}
