output "topic_arns" {
  description = "SNS topic ARN by what it is for."
  value       = { for name, topic in aws_sns_topic.this : name => topic.arn }
}
