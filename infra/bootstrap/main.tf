# Made once an environment, by a person, before anything else: the place of Terraform's state, and the roles
# that CI takes by GitHub's identity tokens. No long-lived key exists.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  name_prefix = "${var.project}-${var.environment}"
  policies    = "${path.module}/../policies"
  account     = data.aws_caller_identity.current.account_id
  partition   = data.aws_partition.current.partition
  oidc_host   = "token.actions.githubusercontent.com"

  policy_values = {
    partition    = local.partition
    region       = var.region
    account      = local.account
    project      = var.project
    env          = var.environment
    name_prefix  = local.name_prefix
    database     = replace(local.name_prefix, "-", "_")
    lake_bucket  = "${local.name_prefix}-lake-${local.account}"
    state_bucket = aws_s3_bucket.state.bucket
    lock_table   = aws_dynamodb_table.locks.name
    state_key    = "${var.project}/${var.environment}/terraform.tfstate"
    boundary_arn = "arn:${local.partition}:iam::${local.account}:policy/${local.name_prefix}-boundary"
    repository   = var.github_repository
    oidc_host    = local.oidc_host
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.create_oidc_provider ? 1 : 0

  url            = "https://${local.oidc_host}"
  client_id_list = ["sts.amazonaws.com"]
}
