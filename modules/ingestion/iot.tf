# Optional: devices that speak MQTT. The rule puts topic, client and time beside the message, which goes along as
# base64: the rule engine would write 10.0 as 10. An event is taken as one, anything else by its source (docs/sources.md).
module "iot_role" {
  source = "../role"
  count  = var.iot_topic_filter == null ? 0 : 1

  name                     = "${var.environment.name_prefix}-iot-rule"
  description              = "AWS IoT puts device messages on the source queue, and what fails on the dead-letter queue"
  service                  = "iot.amazonaws.com"
  source_arn               = "arn:${var.environment.policy_values["partition"]}:iot:${var.environment.policy_values["region"]}:${var.environment.policy_values["account"]}:rule/${replace("${var.environment.name_prefix}-source", "-", "_")}"
  policy                   = "iot-rule"
  policy_values            = var.environment.policy_values
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_iot_topic_rule" "source" {
  count = var.iot_topic_filter == null ? 0 : 1

  # Rule names take no hyphen.
  name        = replace("${var.environment.name_prefix}-source", "-", "_")
  description = "Device messages to the source queue of ${var.environment.name_prefix}"
  enabled     = true
  sql         = "SELECT encode(*, 'base64') AS data, topic() AS mqtt_topic, clientid() AS client_id, timestamp() AS mqtt_time FROM '${var.iot_topic_filter}'"
  sql_version = "2016-03-23"

  sqs {
    queue_url  = aws_sqs_queue.source.id
    role_arn   = module.iot_role[0].arn
    use_base64 = false
  }

  error_action {
    sqs {
      queue_url  = aws_sqs_queue.dead_letter.id
      role_arn   = module.iot_role[0].arn
      use_base64 = false
    }
  }
}
