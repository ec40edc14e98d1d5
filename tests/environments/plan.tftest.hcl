# One environment plans, with the values of its tfvars file:
#   terraform test -test-directory=tests/environments -var-file=environments/dev.tfvars
# tests/terraform looks into the plan of each environment.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "plan" {
  command = plan

  assert {
    condition     = startswith(output.lake_bucket, "${var.project}-${var.environment}-lake-")
    error_message = "lake_bucket: expected a name of this environment, found ${output.lake_bucket}."
  }
}
