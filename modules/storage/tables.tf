locals {
  specifications = {
    for file in fileset("${path.module}/tables", "*.json") :
    trimsuffix(file, ".json") => jsondecode(file("${path.module}/tables/${file}"))
  }

  contracts = { for topic, settings in var.topics : topic => settings.contract if settings.contract != null }

  # Without a contract a topic stops at Curated.
  layers = {
    for topic, settings in var.topics :
    topic => settings.contract == null ? ["raw", "curated"] : ["raw", "curated", "semantic", "quarantine"]
  }

  # Small values: Terraform works out for_each again for every instance, and looks at all of it.
  of_topics = merge([
    for topic, layers in local.layers : {
      for layer in layers : "${layer}_${topic}" => {
        layer     = layer
        partition = var.topics[topic].low_volume ? "partition-spec-low-volume" : "partition-spec"
      }
    }
  ]...)

  # What runs did: one of each an environment.
  operations = { for name in keys(local.specifications) : name => { layer = name, partition = "partition-spec" } if startswith(name, "ops_") }
  tables     = merge(local.of_topics, local.operations)
}

resource "aws_glue_catalog_database" "this" {
  name         = var.database
  description  = "Iceberg tables of ${var.environment.name_prefix}: RAW, Curated, Semantic and Quarantine of every topic"
  location_uri = "s3://${aws_s3_bucket.lake.bucket}/"

  lifecycle {
    prevent_destroy = true
  }
}

# Terraform creates a table once. From then on only Iceberg commits change it: columns that a job adds, and
# the metadata location that every commit moves, are no drift. The contract's columns of Semantic come with
# the first commit of the semantic job, which is the one place that knows the types of a contract.
resource "aws_glue_catalog_table" "this" {
  for_each = local.tables

  database_name = aws_glue_catalog_database.this.name
  name          = each.key
  description   = local.specifications[each.value.layer].description
  table_type    = "EXTERNAL_TABLE"

  open_table_format_input {
    iceberg_input {
      metadata_operation = "CREATE"
      version            = local.specifications[each.value.layer].properties["format-version"]

      iceberg_table_input {
        location   = "s3://${aws_s3_bucket.lake.bucket}/${each.key}"
        properties = { for name, value in local.specifications[each.value.layer].properties : name => value if name != "format-version" }

        schema {
          schema_id = local.specifications[each.value.layer].schema["schema-id"]
          type      = local.specifications[each.value.layer].schema.type

          dynamic "fields" {
            for_each = local.specifications[each.value.layer].schema.fields

            content {
              id   = fields.value.id
              name = fields.value.name
              # To the provider a type is a JSON document: `string` is the text "string", a nested type an object.
              type     = jsonencode(fields.value.type)
              required = fields.value.required
              doc      = fields.value.doc
            }
          }
        }

        partition_spec {
          spec_id = 0

          dynamic "fields" {
            for_each = local.specifications[each.value.layer][each.value.partition]

            content {
              field_id  = fields.value["field-id"]
              source_id = fields.value["source-id"]
              name      = fields.value.name
              transform = fields.value.transform
            }
          }
        }

        dynamic "sort_order" {
          for_each = length(local.specifications[each.value.layer]["sort-order"]) > 0 ? [local.specifications[each.value.layer]["sort-order"]] : []

          content {
            order_id = 1

            dynamic "fields" {
              for_each = sort_order.value

              content {
                source_id  = fields.value["source-id"]
                transform  = fields.value.transform
                direction  = fields.value.direction
                null_order = fields.value["null-order"]
              }
            }
          }
        }
      }
    }
  }

  # Glue writes a table's first metadata into the bucket.
  depends_on = [
    aws_s3_bucket_ownership_controls.lake,
    aws_s3_bucket_policy.lake,
    aws_s3_bucket_public_access_block.lake,
    aws_s3_bucket_server_side_encryption_configuration.lake,
    aws_s3_bucket_versioning.lake,
  ]

  lifecycle {
    prevent_destroy = true
    ignore_changes  = all
  }
}
