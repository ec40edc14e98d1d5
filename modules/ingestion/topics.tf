locals {
  sources = jsonencode({
    version     = 1
    sources     = { for name, path in var.sources : name => yamldecode(file(path)) }
    descriptors = { for name, path in var.source_descriptors : name => filebase64(path) }
  })
}

# Descriptions of devices, for sqs_processor, which reads them anew when the registry of topics has another digest.
resource "aws_s3_object" "sources" {
  count = length(var.sources) > 0 ? 1 : 0

  bucket       = var.lake_bucket
  key          = "registry/sources.json"
  content_type = "application/json"
  content      = local.sources
}

# The topics, for the functions: data, so that one more changes no function. Written last, since whoever knows a
# topic sends to its stream.
resource "aws_s3_object" "topics" {
  bucket       = var.lake_bucket
  key          = "registry/topics.json"
  content_type = "application/json"

  content = jsonencode({
    version = 1
    sources = length(var.sources) > 0 ? sha256(local.sources) : ""
    topics = {
      for topic, settings in var.topics : topic => {
        contract = settings.contract != null
        paused   = contains(var.paused_topics, topic)
        watched  = contains(var.watched_topics, topic)
      }
    }
  })

  depends_on = [aws_kinesis_firehose_delivery_stream.raw, aws_s3_object.sources]
}
