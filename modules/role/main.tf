locals {
  policies = "${path.module}/../../infra/policies"

  # Lambda takes a role without saying for which account; every other service is held to this one.
  trust = var.service == "lambda.amazonaws.com" ? "trust-lambda" : "trust-service"
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = var.description
  assume_role_policy   = templatefile("${local.policies}/${local.trust}.json", merge(var.policy_values, { service = var.service }))
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "this" {
  name   = var.name
  role   = aws_iam_role.this.id
  policy = templatefile("${local.policies}/${var.policy}.json", var.policy_values)
}
