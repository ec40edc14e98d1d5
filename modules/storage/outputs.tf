output "lake_bucket" {
  description = "Name of the lake bucket."
  value       = aws_s3_bucket.lake.bucket

  # What is written before a bucket is versioned has the version "null", and before it is encrypted another key:
  # the next plan would replace it, layers with every function that uses them. So nobody has the name earlier.
  depends_on = [
    aws_s3_bucket_ownership_controls.lake,
    aws_s3_bucket_policy.lake,
    aws_s3_bucket_public_access_block.lake,
    aws_s3_bucket_server_side_encryption_configuration.lake,
    aws_s3_bucket_versioning.lake,
  ]
}

output "lake_bucket_arn" {
  description = "ARN of the lake bucket."
  value       = aws_s3_bucket.lake.arn

  depends_on = [
    aws_s3_bucket_ownership_controls.lake,
    aws_s3_bucket_policy.lake,
    aws_s3_bucket_public_access_block.lake,
    aws_s3_bucket_server_side_encryption_configuration.lake,
    aws_s3_bucket_versioning.lake,
  ]
}

output "database" {
  description = "Name of the Glue database."
  value       = aws_glue_catalog_database.this.name
}

output "tables" {
  description = "Names of the Iceberg tables."
  value       = sort(keys(aws_glue_catalog_table.this))
}

output "raw_tables" {
  description = "Name of the RAW table by topic."
  value       = { for topic in keys(var.topics) : topic => aws_glue_catalog_table.this["raw_${topic}"].name }
}
