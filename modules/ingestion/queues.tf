locals {
  day_s = 86400

  queue_names = { source = "${var.environment.name_prefix}-source", dead_letter = "${var.environment.name_prefix}-dlq" }
}

resource "aws_sqs_queue" "source" {
  name                      = local.queue_names.source
  message_retention_seconds = var.source_retention_days * local.day_s
  max_message_size          = 1048576
  receive_wait_time_seconds = 20

  # Six times the function's timeout, as AWS asks for, so that Lambda's own retries of a throttled invocation
  # end before the message shows again; the window is part of a batch's time.
  visibility_timeout_seconds        = 6 * var.processor_timeout_s + var.batching_window_s
  kms_master_key_id                 = var.environment.kms_key_arn
  kms_data_key_reuse_period_seconds = 3600

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.max_receive_count
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_sqs_queue" "dead_letter" {
  name                              = local.queue_names.dead_letter
  message_retention_seconds         = var.dead_letter_retention_days * local.day_s
  max_message_size                  = 1048576
  receive_wait_time_seconds         = 20
  kms_master_key_id                 = var.environment.kms_key_arn
  kms_data_key_reuse_period_seconds = 3600

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  queue_url = aws_sqs_queue.dead_letter.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.source.arn]
  })
}

resource "aws_sqs_queue_policy" "this" {
  for_each = { source = aws_sqs_queue.source.id, dead_letter = aws_sqs_queue.dead_letter.id }

  queue_url = each.value
  policy    = templatefile("${path.module}/../../infra/policies/queue.json", merge(var.environment.policy_values, { queue_name = local.queue_names[each.key] }))
}

resource "aws_lambda_event_source_mapping" "source" {
  event_source_arn                   = aws_sqs_queue.source.arn
  function_name                      = var.processor_arn
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batching_window_s
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }

  metrics_config {
    metrics = ["EventCount"]
  }

  # What takes messages must be told which topics there are.
  depends_on = [aws_s3_object.topics]

  lifecycle {
    # Enabled or not is the circuit breaker's decision.
    ignore_changes = [enabled]
  }
}
