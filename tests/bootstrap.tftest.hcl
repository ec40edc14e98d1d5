# State and roles of CI: bound to one repository and one environment, and never lost.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  environment       = "dev"
  region            = "eu-west-1"
  github_repository = "owner/name"
}

run "names_are_those_of_the_backend_file" {
  command = plan

  module {
    source = "./infra/bootstrap"
  }

  assert {
    condition     = aws_s3_bucket.state.bucket == "lean-ops-dev-terraform-state-000000000000" && output.state_bucket == aws_s3_bucket.state.bucket
    error_message = "state bucket: expected a name of this environment and account, found ${aws_s3_bucket.state.bucket}."
  }

  assert {
    condition     = strcontains(file("environments/dev.s3.tfbackend"), "\"${aws_dynamodb_table.locks.name}\"")
    error_message = "lock table: expected the one that environments/dev.s3.tfbackend names, found ${aws_dynamodb_table.locks.name}."
  }

  assert {
    condition     = strcontains(aws_iam_policy.ci["ci-apply-lake"].policy, "/lean-ops/dev/terraform.tfstate\"") && strcontains(file("environments/dev.s3.tfbackend"), "\"lean-ops/dev/terraform.tfstate\"")
    error_message = "state key: expected policy and backend file to name the same."
  }

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" && aws_dynamodb_table.locks.deletion_protection_enabled
    error_message = "state: expected versions of the bucket, and a lock table that cannot be deleted."
  }
}

run "roles_are_bound_to_repository_and_environment" {
  command = plan

  module {
    source = "./infra/bootstrap"
  }

  assert {
    condition = {
      for name, role in { plan = aws_iam_role.plan, apply = aws_iam_role.apply, smoke = aws_iam_role.smoke } :
      name => jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"]
      } == {
      plan  = "repo:owner/name:environment:dev-plan"
      apply = "repo:owner/name:environment:dev"
      smoke = "repo:owner/name:environment:dev"
    }
    error_message = "trust: expected the repository's environments dev-plan and dev."
  }

  assert {
    condition     = keys(aws_iam_role_policy_attachment.plan) == ["ci-plan", "ci-plan-lake"] && setunion(keys(aws_iam_role_policy_attachment.apply), ["ci-smoke"]) == toset(keys(aws_iam_policy.ci)) && keys(aws_iam_role_policy_attachment.smoke) == ["ci-smoke"]
    error_message = "roles: expected the one to read what a plan compares, the other to change it as well, and the third to try it alone."
  }

  assert {
    condition     = aws_iam_policy.boundary.name == "lean-ops-dev-boundary" && strcontains(aws_iam_policy.ci["ci-apply-roles"].policy, "arn:aws:iam::000000000000:policy/lean-ops-dev-boundary")
    error_message = "boundary: expected the apply role to make roles under it alone."
  }
}

run "production_is_githubs_name_of_prod" {
  command = plan

  module {
    source = "./infra/bootstrap"
  }

  variables {
    environment = "prod"
  }

  assert {
    condition     = strcontains(aws_iam_role.apply.assume_role_policy, "repo:owner/name:environment:production\"")
    error_message = "trust: expected GitHub's environment production, found ${aws_iam_role.apply.assume_role_policy}."
  }
}

run "an_account_has_one_identity_provider" {
  command = plan

  module {
    source = "./infra/bootstrap"
  }

  variables {
    create_oidc_provider = false
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "identity provider: expected none where another environment made it."
  }
}

run "refuses_repository_with_a_wildcard" {
  command = plan

  module {
    source = "./infra/bootstrap"
  }

  variables {
    github_repository = "owner/*"
  }

  expect_failures = [var.github_repository]
}
