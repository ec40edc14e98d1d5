output "application_id" {
  description = "Id of the application that runs the jobs."
  value       = aws_emrserverless_application.this.id
}

output "job_role_arn" {
  description = "ARN of the role that jobs have."
  value       = module.job_role.arn
}

output "entry_point" {
  description = "What spark-submit runs."
  value       = "s3://${aws_s3_object.entry.bucket}/${aws_s3_object.entry.key}"
}

output "parameters" {
  description = "SparkSubmitParameters by job: settings of Spark, where code and libraries are, and the driver's environment."
  value = {
    for job, environment in var.jobs : job => join(" ", [
      for name, value in merge(
        var.settings,
        local.packaged,
        { for name, value in environment : "spark.emr-serverless.driverEnv.${name}" => value },
      ) : "--conf ${name}=${value}"
    ])
  }
}
