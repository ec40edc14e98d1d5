locals {
  policies = "${path.module}/../../infra/policies"
  own      = jsondecode(templatefile("${local.policies}/${var.policy}.json", var.policy_values))
  base     = [for name in compact([var.base]) : jsondecode(templatefile("${local.policies}/${name}.json", var.policy_values)).Statement]

  # Lambda says neither account nor source when it takes a role. Firehose says the account alone: its page asks for
  # it as external id, others report it as source account, so either is taken and silence is not.
  trust = var.outsider != null ? "external" : var.service == "lambda.amazonaws.com" ? "lambda" : var.source_arn == null ? "account" : "source"
}

resource "aws_iam_role" "this" {
  name        = var.name
  description = var.description
  assume_role_policy = templatefile("${local.policies}/trust-${local.trust}.json", merge(
    var.policy_values,
    { service = var.service, source_arn = var.source_arn },
    { principal_arn = try(var.outsider.principal_arn, null), external_id = try(var.outsider.external_id, null) },
  ))
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "this" {
  name   = var.name
  role   = aws_iam_role.this.id
  policy = jsonencode(merge(local.own, { Statement = flatten([local.own.Statement, local.base]) }))
}
