output "topic_arns" {
  description = "SNS topic ARN by what it is for."
  value       = { for name, topic in aws_sns_topic.this : name => topic.arn }
}

output "alarms" {
  description = "Names of the alarms."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}
