# The queue, its dead-letter queue, the mapping and the streams: numbers that depend on each other.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  raw_tables                 = { events = "raw_events", air_quality = "raw_air_quality" }
  topics                     = { events = { contract = "contracts/events.yaml" }, air_quality = {} }
  paused_topics              = ["events"]
  lake_bucket                = "lean-ops-dev-lake-000000000000"
  lake_bucket_arn            = "arn:aws:s3:::lean-ops-dev-lake-000000000000"
  database                   = "lean_ops_dev"
  processor_arn              = "arn:aws:lambda:eu-west-1:000000000000:function:lean-ops-dev-sqs-processor"
  processor_timeout_s        = 60
  batch_size                 = 1000
  batching_window_s          = 5
  maximum_concurrency        = 10
  max_receive_count          = 5
  source_retention_days      = 4
  dead_letter_retention_days = 14
  buffer_interval_s          = 60
  buffer_mib                 = 64
  iot_topic_filter           = "devices/+/events"

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

run "queues_and_mapping_agree" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  assert {
    condition     = aws_sqs_queue.source.name == "lean-ops-dev-source" && aws_sqs_queue.dead_letter.name == "lean-ops-dev-dlq"
    error_message = "queues: expected lean-ops-dev-source and lean-ops-dev-dlq, found ${aws_sqs_queue.source.name} and ${aws_sqs_queue.dead_letter.name}."
  }

  assert {
    condition     = aws_sqs_queue.dead_letter.message_retention_seconds == 14 * 86400 && aws_sqs_queue.source.message_retention_seconds == 4 * 86400
    error_message = "retention: expected 14 days of dead letters and 4 of messages."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.source.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead_letter.arn, maxReceiveCount = 5 }
    error_message = "redrive: expected the dead-letter queue after 5 tries, found ${aws_sqs_queue.source.redrive_policy}."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letter.redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.source.arn] }
    error_message = "redrive allow: expected the source queue alone."
  }

  assert {
    condition     = aws_sqs_queue.source.visibility_timeout_seconds >= 6 * var.processor_timeout_s + var.batching_window_s
    error_message = "visibility timeout: expected at least six function timeouts and the window, found ${aws_sqs_queue.source.visibility_timeout_seconds}."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.source.event_source_arn == aws_sqs_queue.source.arn && aws_lambda_event_source_mapping.source.function_name == var.processor_arn
    error_message = "mapping: expected it from the source queue to sqs_processor."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.source.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "mapping: expected partial batch failures to be reported."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.source.batch_size == 1000 && aws_lambda_event_source_mapping.source.maximum_batching_window_in_seconds == 5 && aws_lambda_event_source_mapping.source.scaling_config[0].maximum_concurrency == 10
    error_message = "mapping: expected batches of 1000 within 5 seconds, 10 at once."
  }
}

run "every_topic_has_a_stream_to_its_raw_table" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  assert {
    condition     = { for topic, stream in aws_kinesis_firehose_delivery_stream.raw : topic => stream.name } == { events = "lean-ops-dev-events", air_quality = "lean-ops-dev-air-quality" }
    error_message = "streams: expected one a topic, hyphens for underscores."
  }

  assert {
    condition = alltrue([
      for topic, stream in aws_kinesis_firehose_delivery_stream.raw :
      stream.destination == "iceberg" &&
      stream.iceberg_configuration[0].append_only &&
      stream.iceberg_configuration[0].buffering_interval == 60 &&
      stream.iceberg_configuration[0].buffering_size == 64 &&
      stream.iceberg_configuration[0].catalog_arn == "arn:aws:glue:eu-west-1:000000000000:catalog" &&
      stream.iceberg_configuration[0].destination_table_configuration[0].table_name == "raw_${topic}" &&
      stream.iceberg_configuration[0].s3_configuration[0].error_output_prefix == "delivery-errors/${topic}/!{firehose:error-output-type}/" &&
      stream.iceberg_configuration[0].cloudwatch_logging_options[0].enabled
    ])
    error_message = "streams: expected each to append to its topic's RAW table, with an error prefix and a log."
  }

  assert {
    condition     = aws_iot_topic_rule.source[0].sql == "SELECT encode(*, 'base64') AS data, topic() AS mqtt_topic, clientid() AS client_id, timestamp() AS mqtt_time FROM 'devices/+/events'" && aws_iot_topic_rule.source[0].name == "lean_ops_dev_source"
    error_message = "iot rule: expected it to hand the filter's messages on, byte for byte, with topic, client and time."
  }
}

run "functions_are_told_the_topics_by_an_object" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  assert {
    condition     = aws_s3_object.topics.bucket == "lean-ops-dev-lake-000000000000" && aws_s3_object.topics.key == "registry/topics.json"
    error_message = "registry: expected it in the lake bucket."
  }

  assert {
    condition = jsondecode(aws_s3_object.topics.content) == {
      version = 1
      sources = ""
      topics = {
        events      = { contract = true, paused = true, watched = false }
        air_quality = { contract = false, paused = false, watched = false }
      }
    }
    error_message = "registry: expected every topic with what is known of it, found ${aws_s3_object.topics.content}."
  }
}

run "without_sources_there_is_no_registry_of_them" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  assert {
    condition     = length(aws_s3_object.sources) == 0
    error_message = "sources: expected no object, since functions of such an environment ask for none."
  }
}

run "sources_are_data_and_their_digest_is_with_the_topics" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  variables {
    sources            = { senml = "docs/sources/senml.yaml" }
    source_descriptors = { "fleet.binpb" = "docs/sources/fleet.binpb" }
  }

  assert {
    condition     = aws_s3_object.sources[0].key == "registry/sources.json" && jsondecode(aws_s3_object.sources[0].content).version == 1 && jsondecode(aws_s3_object.sources[0].content).sources.senml.topic == "events" && length(jsondecode(aws_s3_object.sources[0].content).descriptors["fleet.binpb"]) > 0
    error_message = "sources: expected each as its file says, with descriptors as base64."
  }

  assert {
    condition     = jsondecode(aws_s3_object.topics.content).sources == sha256(aws_s3_object.sources[0].content)
    error_message = "registry: expected the digest of the sources, so that functions read them when they change."
  }
}

run "a_source_has_a_name_that_labels_and_files_can_have" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  variables {
    sources = { Meters = "docs/sources/senml.yaml" }
  }

  expect_failures = [var.sources]
}

run "a_topic_adds_its_stream_and_neither_role_nor_log" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  assert {
    condition     = length(distinct([for stream in aws_kinesis_firehose_delivery_stream.raw : stream.iceberg_configuration[0].role_arn])) == 1
    error_message = "streams: expected one role for all."
  }

  assert {
    condition     = alltrue([for stream in aws_kinesis_firehose_delivery_stream.raw : stream.iceberg_configuration[0].cloudwatch_logging_options[0].log_group_name == "/aws/kinesisfirehose/lean-ops-dev-delivery"])
    error_message = "streams: expected one log group for all."
  }
}

run "without_a_filter_there_is_no_iot_rule" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  variables {
    iot_topic_filter = null
  }

  assert {
    condition     = length(aws_iot_topic_rule.source) == 0
    error_message = "iot rule: expected none without a topic filter."
  }
}

run "the_longest_names_fit" {
  command = plan

  module {
    source = "./modules/ingestion"
  }

  variables {
    environment = {
      name_prefix              = "a-project-of-20-char-staging"
      kms_key_arn              = "arn:aws:kms:eu-west-1:000000000000:key/mock"
      permissions_boundary_arn = null
      log_retention_days       = 365

      policy_values = {
        partition   = "aws"
        region      = "eu-west-1"
        account     = "000000000000"
        project     = "a-project-of-20-char"
        env         = "staging"
        name_prefix = "a-project-of-20-char-staging"
        database    = "a_project_of_20_char_staging"
        lake_bucket = "a-project-of-20-char-staging-lake-000000000000"
        kms_key_arn = "arn:aws:kms:eu-west-1:000000000000:key/mock"
      }
    }

    topics        = { a_topic_of_exactly_thirty_char = {} }
    paused_topics = []
    raw_tables    = { a_topic_of_exactly_thirty_char = "raw_a_topic_of_exactly_thirty_char" }
  }

  assert {
    condition     = length(one(values(aws_kinesis_firehose_delivery_stream.raw)).name) <= 64
    error_message = "streams: expected names of 64 characters at most (limit of Firehose)."
  }
}
