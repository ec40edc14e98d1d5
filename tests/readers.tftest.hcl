# Snowflake takes its roles by user and external id, reads Semantic, and is off unless it is set up. Saved queries of
# Athena are for the topics that are named, and for what these have.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  database              = "lean_ops_dev"
  lake_bucket           = "lean-ops-dev-lake-000000000000"
  athena_topics         = ["events", "meters"]
  topics_with_contract  = ["events"]
  athena_scan_limit_gib = 100

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

run "nobody_from_outside_is_let_in_by_default" {
  command = plan

  module {
    source = "./modules/readers"
  }

  assert {
    condition     = output.snowflake_roles == {}
    error_message = "roles: expected none."
  }
}

run "snowflake_takes_two_roles" {
  command = plan

  module {
    source = "./modules/readers"
  }

  variables {
    snowflake = {
      storage = { principal_arn = "arn:aws:iam::111111111111:user/volume", external_id = "VOLUME_SFCRole=2_a=" }
      catalog = { principal_arn = "arn:aws:iam::111111111111:user/catalog", external_id = "CATALOG_SFCRole=2_b=" }
    }
  }

  assert {
    condition     = keys(output.snowflake_roles) == ["catalog", "storage"]
    error_message = "roles: expected one for the files and one for the catalog."
  }

  assert {
    condition     = output.snowflake_setup.storage_role_arn == "arn:aws:iam::000000000000:role/lean-ops-dev-snowflake-storage" && output.snowflake_setup.catalog_role_arn == "arn:aws:iam::000000000000:role/lean-ops-dev-snowflake-catalog"
    error_message = "set-up: expected the ARNs that the roles get."
  }
}

run "refuses_everybody_as_snowflake" {
  command = plan

  module {
    source = "./modules/readers"
  }

  variables {
    snowflake = {
      storage = { principal_arn = "*", external_id = "VOLUME_SFCRole=2_a=" }
      catalog = { principal_arn = "arn:aws:iam::111111111111:user/catalog", external_id = "CATALOG_SFCRole=2_b=" }
    }
  }

  expect_failures = [var.snowflake]
}

run "a_topic_without_contract_has_the_queries_on_raw_and_curated_alone" {
  command = plan

  module {
    source = "./modules/readers"
  }

  assert {
    condition     = length([for name in keys(aws_athena_named_query.this) : name if startswith(name, "events/")]) == length(fileset("./modules/readers/athena", "*.sql"))
    error_message = "queries of events: expected all."
  }

  assert {
    condition     = contains(keys(aws_athena_named_query.this), "meters/key_history") && !contains(keys(aws_athena_named_query.this), "meters/quarantine_by_rule")
    error_message = "queries of meters: expected those that read RAW and Curated alone."
  }
}

run "refuses_a_query_without_limit" {
  command = plan

  module {
    source = "./modules/readers"
  }

  variables {
    athena_scan_limit_gib = 0
  }

  expect_failures = [var.athena_scan_limit_gib]
}
