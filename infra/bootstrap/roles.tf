locals {
  # GitHub's environments are named as its pages show them to people; the others are named alike.
  github_environment = var.environment == "prod" ? "production" : var.environment
}

# Both roles are bound to the repository and the GitHub environment: the token's subject names both.
resource "aws_iam_role" "plan" {
  name                 = "${local.name_prefix}-ci-plan"
  description          = "Pull requests plan ${local.name_prefix}: reads, and takes the state's lock"
  assume_role_policy   = templatefile("${local.policies}/trust-github.json", merge(local.policy_values, { github_environment = "${local.github_environment}-plan" }))
  max_session_duration = 3600
}

# A policy of its own, since both roles read and IAM allows 10,240 characters of inline policies a role.
resource "aws_iam_policy" "plan" {
  name        = "${local.name_prefix}-ci-plan"
  description = "Reads what a plan of ${local.name_prefix} compares"
  policy      = templatefile("${local.policies}/ci-plan.json", local.policy_values)
}

resource "aws_iam_role_policy_attachment" "plan" {
  for_each = { plan = aws_iam_role.plan.name, apply = aws_iam_role.apply.name }

  role       = each.value
  policy_arn = aws_iam_policy.plan.arn
}

resource "aws_iam_role" "apply" {
  name                 = "${local.name_prefix}-ci-apply"
  description          = "The main branch applies ${local.name_prefix}, after the GitHub environment's reviewers agreed"
  assume_role_policy   = templatefile("${local.policies}/trust-github.json", merge(local.policy_values, { github_environment = local.github_environment }))
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "apply" {
  name   = "apply"
  role   = aws_iam_role.apply.id
  policy = templatefile("${local.policies}/ci-apply.json", local.policy_values)
}

# Every role that the apply role makes carries this policy, so that none of them can do more than the
# pipeline's services with the environment's own resources, whatever a change writes into it.
resource "aws_iam_policy" "boundary" {
  name        = "${local.name_prefix}-boundary"
  description = "The most that a role of ${local.name_prefix} can do"
  policy      = templatefile("${local.policies}/boundary.json", local.policy_values)
}
