data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  name_prefix = "${var.project}-${var.environment}"

  # Glue and Iceberg names take no hyphen.
  database = replace(local.name_prefix, "-", "_")

  # Bucket names are global: the account id keeps two installations apart.
  lake_bucket = "${local.name_prefix}-lake-${data.aws_caller_identity.current.account_id}"

  contract_files = {
    for file in fileset("${path.root}/contracts", "*.yaml") :
    trimsuffix(file, ".yaml") => "${path.root}/contracts/${file}"
  }

  # Descriptions of devices, and the compiled descriptors of Protobuf beside them.
  source_files       = { for file in fileset("${path.root}/sources", "*.yaml") : trimsuffix(file, ".yaml") => "${path.root}/sources/${file}" }
  source_descriptors = { for file in fileset("${path.root}/sources", "*.binpb") : file => "${path.root}/sources/${file}" }

  # Topics with a contract, those the environment adds, and the default topic, which is always there.
  topics = {
    for topic in toset(concat(["events"], keys(local.contract_files), tolist(var.topics))) : topic => {
      contract = lookup(local.contract_files, topic, null)
      low_volume = contains([
        for property in try(yamldecode(file(local.contract_files[topic])).customProperties, []) :
        property.value if property.property == "volume"
      ], "low")
    }
  }

  function_names = keys(jsondecode(file("${path.root}/modules/compute/functions.json")).functions)

  # What the placeholders of infra/policies stand for. ARNs are composed there from names, so that a plan
  # shows every policy in full; only the key's id is AWS's choice.
  policy_values = {
    partition   = data.aws_partition.current.partition
    region      = var.region
    account     = data.aws_caller_identity.current.account_id
    project     = var.project
    env         = var.environment
    name_prefix = local.name_prefix
    database    = local.database
    lake_bucket = local.lake_bucket
  }

  # What every module needs to know of the environment that it is part of.
  environment = {
    name_prefix              = local.name_prefix
    kms_key_arn              = module.encryption.key_arn
    permissions_boundary_arn = var.permissions_boundary_arn
    log_retention_days       = var.log_retention_days
    policy_values            = merge(local.policy_values, { kms_key_arn = module.encryption.key_arn })
  }

  # What the placeholders of functions.json stand for, beside what modules/compute itself names; the local stack
  # gives the same names their values there.
  placeholder_values = merge(local.policy_values, {
    checkpoints_table     = module.state.checkpoints_table
    drift_log_table       = module.state.drift_log_table
    audit_table           = module.state.audit_table
    source_queue_url      = module.ingestion.source_queue_url
    dead_letter_queue_url = module.ingestion.dead_letter_queue_url
    pii_key_secret_id     = module.encryption.secrets["pii-key"]
    # What the function maintenance keeps of the tables.
    snapshot_retention_days    = tostring(var.snapshot_retention_days)
    orphan_file_retention_days = tostring(var.orphan_file_retention_days)
    runs_at_once               = tostring(var.runs_at_once)
    live_state_machine_arn     = module.orchestration.live_state_machine_arn
    # What outgrows a function goes to Spark, where the environment has it (docs/scale.md).
    spark = var.spark ? "on" : "off"
  })
}
