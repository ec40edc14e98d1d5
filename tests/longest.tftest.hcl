# The longest names that the variables admit make no name that a service refuses; the provider's rules judge.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "longest_names_fit" {
  command = plan

  variables {
    project          = "abcdefghijklmnopqrst"
    environment      = "staging"
    region           = "ap-northeast-1"
    topics           = ["a23456789_123456789_123456789_", "events_eu"]
    watched_topics   = ["a23456789_123456789_123456789_"]
    iot_topic_filter = "devices/+/#"
    spark            = true
    runbook_url      = "https://example.com/${join("", [for n in range(380) : "x"])}"
  }

  assert {
    condition     = output.state_machine_arn != ""
    error_message = "state machine: expected one."
  }
}

run "longest_names_of_the_bootstrap_fit" {
  command = plan

  module {
    source = "./infra/bootstrap"
  }

  variables {
    project           = "abcdefghijklmnopqrst"
    environment       = "staging"
    region            = "ap-northeast-1"
    github_repository = "${join("", [for n in range(39) : "o"])}/${join("", [for n in range(100) : "r"])}"
  }

  assert {
    condition     = alltrue([for policy in aws_iam_policy.ci : length(jsonencode(jsondecode(policy.policy))) <= 6144])
    error_message = "policies: expected each to fit the 6,144 characters of a managed policy."
  }
}
