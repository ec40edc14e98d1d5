output "functions" {
  description = "Name, ARN and timeout in seconds of each function of the catalogue."
  value = {
    for name, function in aws_lambda_function.this : name => {
      name      = function.function_name
      arn       = function.arn
      timeout_s = local.catalogue.functions[name].timeout_s
    }
  }
}

output "role_policies" {
  description = "Rendered policy of each function's role."
  value       = { for name, role in module.role : name => role.policy }
}
