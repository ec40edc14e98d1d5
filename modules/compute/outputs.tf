output "functions" {
  description = "Name and ARN of each function of the catalogue."
  value       = { for name, function in aws_lambda_function.this : name => { name = function.function_name, arn = function.arn } }
}

# From the catalogue and not from the functions: the queue's visibility timeout depends on it, and the
# functions' environment on the queue.
output "timeouts_s" {
  description = "Timeout in seconds of each function of the catalogue."
  value       = { for name, function in local.catalogue.functions : name => function.timeout_s }
}
