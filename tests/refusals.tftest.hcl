# Every value that AWS or the design would not take is refused at plan time, with a sentence.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  environment = "dev"
  region      = "eu-west-1"
}

run "refuses_another_environment" {
  command = plan

  variables {
    environment = "qa"
  }

  expect_failures = [var.environment]
}

run "refuses_project_with_capitals" {
  command = plan

  variables {
    project = "Lean_Ops"
  }

  expect_failures = [var.project]
}

run "refuses_something_that_is_no_region" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

run "refuses_a_budget_below_zero" {
  command = plan

  variables {
    monthly_budget_usd = -1
  }

  expect_failures = [var.monthly_budget_usd]
}

run "refuses_topic_with_a_hyphen" {
  command = plan

  variables {
    topics = ["air-quality"]
  }

  expect_failures = [var.topics]
}

run "refuses_topic_of_over_thirty_characters" {
  command = plan

  variables {
    topics = ["a_topic_of_exactly_thirty_chars"]
  }

  expect_failures = [var.topics]
}

run "refuses_topic_called_like_a_function" {
  command = plan

  variables {
    topics = ["observation"]
  }

  expect_failures = [var.topics]
}

run "refuses_watching_an_unknown_topic" {
  command = plan

  variables {
    watched_topics = ["wether"]
  }

  expect_failures = [var.watched_topics]
}

run "refuses_pausing_an_unknown_topic" {
  command = plan

  variables {
    paused_topics = ["wether"]
  }

  expect_failures = [var.paused_topics]
}

run "refuses_batch_below_ten" {
  command = plan

  variables {
    batch_size = 9
  }

  expect_failures = [var.batch_size]
}

run "refuses_batch_above_ten_thousand" {
  command = plan

  variables {
    batch_size = 10001
  }

  expect_failures = [var.batch_size]
}

run "refuses_no_batching_window" {
  command = plan

  variables {
    batching_window_s = 0
  }

  expect_failures = [var.batching_window_s]
}

run "refuses_one_batch_at_once" {
  command = plan

  variables {
    maximum_concurrency = 1
  }

  expect_failures = [var.maximum_concurrency]
}

run "refuses_more_batches_than_lambda_takes" {
  command = plan

  variables {
    maximum_concurrency = 1001
  }

  expect_failures = [var.maximum_concurrency]
}

run "refuses_too_few_tries" {
  command = plan

  variables {
    max_receive_count = 3
  }

  expect_failures = [var.max_receive_count]
}

run "refuses_source_retention_that_eats_the_dead_letters" {
  command = plan

  variables {
    source_retention_days = 5
  }

  expect_failures = [var.source_retention_days]
}

run "refuses_retention_longer_than_sqs_allows" {
  command = plan

  variables {
    dead_letter_retention_days = 15
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "refuses_age_alarm_after_the_message_is_gone" {
  command = plan

  variables {
    dead_letter_age_alarm_days = 11
  }

  expect_failures = [var.dead_letter_age_alarm_days]
}

run "refuses_error_rate_of_everything" {
  command = plan

  variables {
    error_rate_alarm_percent = 100
  }

  expect_failures = [var.error_rate_alarm_percent]
}

run "refuses_buffer_interval_over_fifteen_minutes" {
  command = plan

  variables {
    buffer_interval_s = 901
  }

  expect_failures = [var.buffer_interval_s]
}

run "refuses_buffer_larger_than_firehose_takes" {
  command = plan

  variables {
    buffer_mib = 129
  }

  expect_failures = [var.buffer_mib]
}

run "refuses_schedule_without_a_pause" {
  command = plan

  variables {
    schedule_minutes = 0
  }

  expect_failures = [var.schedule_minutes]
}

run "refuses_no_run_at_once" {
  command = plan

  variables {
    runs_at_once = 0
  }

  expect_failures = [var.runs_at_once]
}

run "refuses_snapshots_kept_for_no_day" {
  command = plan

  variables {
    snapshot_retention_days = 0
  }

  expect_failures = [var.snapshot_retention_days]
}

run "refuses_orphans_deleted_under_a_running_commit" {
  command = plan

  variables {
    orphan_file_retention_days = 2
  }

  expect_failures = [var.orphan_file_retention_days]
}

run "refuses_delivery_errors_gone_too_soon" {
  command = plan

  variables {
    delivery_error_retention_days = 7
  }

  expect_failures = [var.delivery_error_retention_days]
}

run "refuses_retention_that_cloudwatch_does_not_offer" {
  command = plan

  variables {
    log_retention_days = 100
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_subscription_to_an_unknown_alarm_topic" {
  command = plan

  variables {
    subscriptions = { pager = { protocol = "https", endpoint = "https://example.com" } }
  }

  expect_failures = [var.subscriptions]
}

run "refuses_filter_with_a_quote" {
  command = plan

  variables {
    iot_topic_filter = "devices/'"
  }

  expect_failures = [var.iot_topic_filter]
}

run "refuses_boundary_that_is_no_policy" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "refuses_archive_shorter_than_the_queue" {
  command = plan

  variables {
    archive_retention_days = 13
  }

  expect_failures = [var.archive_retention_days]
}

run "refuses_runbook_with_an_anchor" {
  command = plan

  variables {
    runbook_url = "https://example.com/runbook#alarm"
  }

  expect_failures = [var.runbook_url]
}

run "says_run_make_build_where_nothing_is_built" {
  command = plan

  variables {
    build_directory = "tests/mocks"
  }

  expect_failures = [var.build_directory]
}

run "refuses_project_with_a_prefix_of_s3" {
  command = plan

  variables {
    project = "sthree-lake"
  }

  expect_failures = [var.project]
}

run "refuses_project_that_reads_as_punycode" {
  command = plan

  variables {
    project = "xn--lake"
  }

  expect_failures = [var.project]
}

run "refuses_half_a_minute_of_schedule" {
  command = plan

  variables {
    schedule_minutes = 2.5
  }

  expect_failures = [var.schedule_minutes]
}

run "refuses_half_a_receive" {
  command = plan

  variables {
    max_receive_count = 5.5
  }

  expect_failures = [var.max_receive_count]
}

run "refuses_half_a_day" {
  command = plan

  variables {
    archive_retention_days = 90.5
  }

  expect_failures = [var.archive_retention_days]
}

run "refuses_a_filter_that_goes_on_after_all_levels" {
  command = plan

  variables {
    iot_topic_filter = "#/a"
  }

  expect_failures = [var.iot_topic_filter]
}

run "refuses_a_filter_with_a_wildcard_inside_a_level" {
  command = plan

  variables {
    iot_topic_filter = "devices/a+/events"
  }

  expect_failures = [var.iot_topic_filter]
}

run "refuses_a_filter_of_nine_levels" {
  command = plan

  variables {
    iot_topic_filter = "a/b/c/d/e/f/g/h/i"
  }

  expect_failures = [var.iot_topic_filter]
}

run "refuses_a_runbook_that_no_alarm_could_name" {
  command = plan

  variables {
    runbook_url = "https://example.com/${join("", [for n in range(400) : "x"])}"
  }

  expect_failures = [var.runbook_url]
}

run "refuses_snowflake_without_its_user" {
  command = plan

  variables {
    snowflake = {
      storage = { principal_arn = "arn:aws:iam::111111111111:root", external_id = "agreed" }
      catalog = { principal_arn = "arn:aws:iam::111111111111:user/catalog", external_id = "agreed" }
    }
  }

  expect_failures = [var.snowflake]
}

run "refuses_queries_saved_for_an_unknown_topic" {
  command = plan

  variables {
    athena_topics = ["unknown"]
  }

  expect_failures = [var.athena_topics]
}

run "refuses_a_scan_limit_of_half_a_gib" {
  command = plan

  variables {
    athena_scan_limit_gib = 0.5
  }

  expect_failures = [var.athena_scan_limit_gib]
}

run "refuses_results_that_are_kept_for_years" {
  command = plan

  variables {
    query_result_retention_days = 1000
  }

  expect_failures = [var.query_result_retention_days]
}

run "refuses_a_topic_named_like_a_view" {
  command = plan

  variables {
    topics = ["meters_current"]
  }

  expect_failures = [var.topics]
}

run "refuses_vcpus_that_make_no_whole_workers" {
  command = plan

  variables {
    spark_maximum_vcpus = 6
  }

  expect_failures = [var.spark_maximum_vcpus]
}
