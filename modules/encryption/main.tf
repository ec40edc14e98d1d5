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

# The key that personal data is hashed with. Terraform makes the place and never sees the value, which
# therefore is in no state and no plan (docs/deploy.md says how to set it, once).
resource "aws_secretsmanager_secret" "pii_key" {
  # checkov:skip=CKV2_AWS_57:A rotated key would change every hash and break every join on hashed columns
  name                    = "${var.name_prefix}-pii-key"
  description             = "Key of the keyed hashes that stand for personal data in Semantic"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}
