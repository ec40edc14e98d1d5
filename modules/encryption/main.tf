locals {
  secrets = {
    pii-key         = "Key of the keyed hashes that stand for personal data in Semantic"
    alert-endpoints = "Where alarms go: PagerDuty's routing key and Slack's webhook"
    snowflake       = "Account, user and private key that query latencies are read with"
  }
}

resource "aws_kms_key" "this" {
  description             = "Everything that ${var.name_prefix} stores"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = templatefile("${path.module}/../../infra/policies/encryption-key.json", var.policy_values)

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name_prefix}"
  target_key_id = aws_kms_key.this.key_id
}

# Terraform makes the places and never sees the values, which therefore are in no state and no plan
# (docs/deploy.md says how to set them, once). What is optional stays off until its secret has a value.
resource "aws_secretsmanager_secret" "this" {
  for_each = local.secrets

  # checkov:skip=CKV2_AWS_57:A rotated hashing key would break every join on hashed columns; the others belong to PagerDuty, Slack and Snowflake, which issue them
  name                    = "${var.name_prefix}-${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}
