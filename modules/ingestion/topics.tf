# The topics, for the functions: data, so that one more changes no function. Written last, since whoever knows a
# topic sends to its stream.
resource "aws_s3_object" "topics" {
  bucket       = var.lake_bucket
  key          = "registry/topics.json"
  content_type = "application/json"

  content = jsonencode({
    version = 1
    topics = {
      for topic, settings in var.topics : topic => {
        contract = settings.contract != null
        paused   = contains(var.paused_topics, topic)
        watched  = contains(var.watched_topics, topic)
      }
    }
  })

  depends_on = [aws_kinesis_firehose_delivery_stream.raw]
}
