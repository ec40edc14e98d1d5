locals {
  # Key attributes by table: partition key first, then the sort key. All are strings.
  tables = {
    checkpoints = ["checkpoint_id"]
    drift-log   = ["topic", "entry"]
    audit       = ["operation_id"]
  }

  # Leases and settled drift expire; what operators did is kept.
  expiring = ["checkpoints", "drift-log"]
}

resource "aws_dynamodb_table" "this" {
  for_each = local.tables

  name                        = "${var.environment.name_prefix}-${each.key}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = each.value[0]
  range_key                   = try(each.value[1], null)
  deletion_protection_enabled = true

  dynamic "attribute" {
    for_each = each.value

    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "ttl" {
    for_each = contains(local.expiring, each.key) ? ["expires_at"] : []

    content {
      attribute_name = ttl.value
      enabled        = true
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.environment.kms_key_arn
  }

  lifecycle {
    prevent_destroy = true
  }
}
