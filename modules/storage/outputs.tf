output "lake_bucket" {
  description = "Name of the lake bucket."
  value       = aws_s3_bucket.lake.bucket
}

output "lake_bucket_arn" {
  description = "ARN of the lake bucket."
  value       = aws_s3_bucket.lake.arn
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
