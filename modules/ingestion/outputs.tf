output "source_queue" {
  description = "Name of the queue that devices send to."
  value       = aws_sqs_queue.source.name
}

output "source_queue_url" {
  description = "URL of the queue that devices send to."
  value       = aws_sqs_queue.source.url
}

output "dead_letter_queue" {
  description = "Name of the dead-letter queue."
  value       = aws_sqs_queue.dead_letter.name
}

output "dead_letter_queue_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dead_letter.url
}
