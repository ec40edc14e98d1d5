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

output "jobs" {
  description = "Environment by job on Spark: its function's, with what the job has in its place."
  value = {
    for name, changed in local.rendered.spark.jobs :
    name => merge(local.rendered.environment, local.rendered.functions[name].environment, changed)
  }
}

output "spark" {
  description = "What the catalogue says of all jobs on Spark: release, architecture, the functions' runtime, settings; and their archive, null where it is not built."
  value = {
    release      = local.catalogue.spark.release
    architecture = local.catalogue.spark.architecture
    runtime      = local.catalogue.runtime
    settings     = local.catalogue.spark.settings
    archive      = try({ directory = var.build_directory, name = local.manifest.spark.archive, sha256 = local.manifest.spark.sha256 }, null)
  }
}
