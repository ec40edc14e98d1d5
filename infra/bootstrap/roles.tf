locals {
  # GitHub's environments are named as its pages show them to people; the others are named alike.
  github_environment = var.environment == "prod" ? "production" : var.environment

  # Managed policies: of those IAM allows ten a role with 6,144 characters each, of inline ones 10,240 together.
  # The longest names that the variables admit have to fit (tests/conventions).
  ci_policies = {
    ci-plan        = "Reads what a plan of ${local.name_prefix} compares"
    ci-plan-lake   = "Reads the settings of what ${local.name_prefix} stores"
    ci-apply       = "Changes queues, streams, functions, schedules and alarms of ${local.name_prefix}"
    ci-apply-lake  = "Changes the places where ${local.name_prefix} stores, and deletes none that holds data"
    ci-smoke       = "Looks whether ${local.name_prefix} is well, and runs its pipeline once"
    ci-apply-roles = "Makes roles of ${local.name_prefix}, each within the boundary, and leaves CI's own alone"
  }
  reading  = toset(["ci-plan", "ci-plan-lake"])
  trying   = toset(["ci-smoke"])
  changing = setsubtract(keys(local.ci_policies), local.trying)
}

resource "aws_iam_policy" "ci" {
  for_each = local.ci_policies

  name        = "${local.name_prefix}-${each.key}"
  description = each.value
  policy      = templatefile("${local.policies}/${each.key}.json", local.policy_values)
}

# Both roles are bound to the repository and the GitHub environment: the token's subject names both.
resource "aws_iam_role" "plan" {
  name                 = "${local.name_prefix}-ci-plan"
  description          = "Pull requests plan ${local.name_prefix}: reads, and takes the state's lock"
  assume_role_policy   = templatefile("${local.policies}/trust-github.json", merge(local.policy_values, { github_environment = "${local.github_environment}-plan" }))
  max_session_duration = 3600
}

resource "aws_iam_role_policy_attachment" "plan" {
  for_each = local.reading

  role       = aws_iam_role.plan.name
  policy_arn = aws_iam_policy.ci[each.key].arn
}

resource "aws_iam_role" "apply" {
  name                 = "${local.name_prefix}-ci-apply"
  description          = "The main branch applies ${local.name_prefix}, after the GitHub environment's reviewers agreed"
  assume_role_policy   = templatefile("${local.policies}/trust-github.json", merge(local.policy_values, { github_environment = local.github_environment }))
  max_session_duration = 3600
}

resource "aws_iam_role_policy_attachment" "apply" {
  for_each = local.changing

  role       = aws_iam_role.apply.name
  policy_arn = aws_iam_policy.ci[each.key].arn
}

# After a deployment: what was applied is looked at and run, by a role that can change nothing of it.
resource "aws_iam_role" "smoke" {
  name                 = "${local.name_prefix}-ci-smoke"
  description          = "The main branch tries ${local.name_prefix} after it was applied: doctor, and one run"
  assume_role_policy   = templatefile("${local.policies}/trust-github.json", merge(local.policy_values, { github_environment = local.github_environment }))
  max_session_duration = 3600
}

resource "aws_iam_role_policy_attachment" "smoke" {
  for_each = local.trying

  role       = aws_iam_role.smoke.name
  policy_arn = aws_iam_policy.ci[each.key].arn
}

# Every role that the apply role makes carries this policy, so that none of them can do more than the
# pipeline's services with the environment's own resources, whatever a change writes into it.
resource "aws_iam_policy" "boundary" {
  name        = "${local.name_prefix}-boundary"
  description = "The most that a role of ${local.name_prefix} can do"
  policy      = templatefile("${local.policies}/boundary.json", local.policy_values)
}
