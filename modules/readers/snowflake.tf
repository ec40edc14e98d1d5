# Snowflake reads Semantic: its files through an external volume, its tables through a catalog integration. Each
# has a role of its own, which Snowflake's user takes by the external id that DESCRIBE shows (infra/snowflake).
locals {
  snowflake_roles = var.snowflake == null ? {} : {
    storage = "Snowflake reads the files of Semantic"
    catalog = "Snowflake finds the tables of Semantic"
  }
}

module "snowflake_role" {
  source   = "../role"
  for_each = local.snowflake_roles

  name                     = "${var.environment.name_prefix}-snowflake-${each.key}"
  description              = each.value
  outsider                 = var.snowflake[each.key]
  policy                   = "snowflake-${each.key}"
  policy_values            = var.environment.policy_values
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}
