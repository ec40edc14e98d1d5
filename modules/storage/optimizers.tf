module "optimizer_role" {
  source = "../role"

  name                     = "${var.name_prefix}-table-optimizer"
  description              = "Glue compacts tables, expires snapshots and deletes orphan files"
  service                  = "glue.amazonaws.com"
  policy                   = "table-optimizer"
  policy_values            = var.policy_values
  permissions_boundary_arn = var.permissions_boundary_arn
}

resource "aws_glue_catalog_table_optimizer" "compaction" {
  for_each = aws_glue_catalog_table.this

  catalog_id    = var.policy_values["account"]
  database_name = each.value.database_name
  table_name    = each.value.name
  type          = "compaction"

  configuration {
    role_arn = module.optimizer_role.arn
    enabled  = true
  }
}

resource "aws_glue_catalog_table_optimizer" "retention" {
  for_each = aws_glue_catalog_table.this

  catalog_id    = var.policy_values["account"]
  database_name = each.value.database_name
  table_name    = each.value.name
  type          = "retention"

  configuration {
    role_arn = module.optimizer_role.arn
    enabled  = true

    retention_configuration {
      iceberg_configuration {
        snapshot_retention_period_in_days = var.snapshot_retention_days
        number_of_snapshots_to_retain     = 1
        clean_expired_files               = true
      }
    }
  }
}

resource "aws_glue_catalog_table_optimizer" "orphan_files" {
  for_each = aws_glue_catalog_table.this

  catalog_id    = var.policy_values["account"]
  database_name = each.value.database_name
  table_name    = each.value.name
  type          = "orphan_file_deletion"

  configuration {
    role_arn = module.optimizer_role.arn
    enabled  = true

    orphan_file_deletion_configuration {
      iceberg_configuration {
        orphan_file_retention_period_in_days = var.orphan_file_retention_days
        location                             = "s3://${aws_s3_bucket.lake.bucket}/${each.key}"
      }
    }
  }
}
