output "key_arn" {
  description = "ARN of the key."
  value       = aws_kms_key.this.arn
}

output "pii_key_secret" {
  description = "Name of the secret with the hashing key of personal data."
  value       = aws_secretsmanager_secret.pii_key.name
}
