output "arn" {
  description = "ARN of the role, known once its policy is attached."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "policy" {
  description = "The role's policy as JSON: its own file and that of its kind."
  value       = aws_iam_role_policy.this.policy
}
