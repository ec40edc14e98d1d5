output "key_arn" {
  description = "ARN of the key."
  value       = aws_kms_key.this.arn
}

output "secrets" {
  description = "Name of each secret: pii-key, alert-endpoints, snowflake."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.name }
}
