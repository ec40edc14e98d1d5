output "state_bucket" {
  description = "Bucket of Terraform's state, for -backend-config."
  value       = aws_s3_bucket.state.bucket
}

output "plan_role_arn" {
  description = "Role that pull requests plan with."
  value       = aws_iam_role.plan.arn
}

output "apply_role_arn" {
  description = "Role that the main branch applies with."
  value       = aws_iam_role.apply.arn
}

output "smoke_role_arn" {
  description = "Role that the main branch tries a deployment with."
  value       = aws_iam_role.smoke.arn
}

output "permissions_boundary_arn" {
  description = "Value of the root module's permissions_boundary_arn."
  value       = aws_iam_policy.boundary.arn
}
