output "functions" {
  description = "Name of each function of the catalogue, and the ARN that its callers invoke: its alias live."
  value       = { for name, alias in aws_lambda_alias.live : name => { name = alias.function_name, arn = alias.arn } }
}

# From the catalogue and not from the functions: the queue's visibility timeout depends on it, and the
# functions' environment on the queue.
output "timeouts_s" {
  description = "Timeout in seconds of each function of the catalogue."
  value       = { for name, function in local.catalogue.functions : name => function.timeout_s }
}
