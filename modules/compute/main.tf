locals {
  # Keys, sizes and layers come from the catalogue as it stands, so that they are known in every plan;
  # the environment is filled once the resources that it names exist.
  catalogue = jsondecode(file("${path.module}/functions.json"))
  rendered = jsondecode(templatefile("${path.module}/functions.json", merge(var.placeholder_values, {
    queue_function  = "${local.names["sqs_processor"]}:live"
    upkeep_function = "${local.names["maintenance"]}:live"
    schedule_rate   = local.schedule_rate
  })))

  names = { for name in keys(local.catalogue.functions) : name => "${var.environment.name_prefix}-${replace(name, "_", "-")}" }

  # Archives and their hashes, as `make build` wrote them.
  manifest = jsondecode(file("${var.build_directory}/manifest.json"))
  layers   = toset(flatten([for function in local.catalogue.functions : function.layers]))
}

module "role" {
  source   = "../role"
  for_each = local.names

  name                     = each.value
  description              = local.catalogue.functions[each.key].description
  service                  = "lambda.amazonaws.com"
  policy                   = replace(each.key, "_", "-")
  base                     = "function"
  policy_values            = merge(var.environment.policy_values, { function_name = each.value })
  permissions_boundary_arn = var.environment.permissions_boundary_arn
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.names

  name              = "/aws/lambda/${each.value}"
  retention_in_days = var.environment.log_retention_days
  kms_key_id        = var.environment.kms_key_arn
}

# Layers are larger than Lambda takes directly (50 MB), so they go through the bucket.
resource "aws_s3_object" "layer" {
  for_each = local.layers

  bucket      = var.lake_bucket
  key         = "artifacts/layers/${each.key}.zip"
  source      = "${var.build_directory}/${local.manifest.layers[each.key].archive}"
  source_hash = local.manifest.layers[each.key].sha256
}

resource "aws_lambda_layer_version" "this" {
  for_each = local.layers

  layer_name               = "${var.environment.name_prefix}-${each.key}"
  description              = "Libraries of the functions, from requirements.lock"
  s3_bucket                = aws_s3_object.layer[each.key].bucket
  s3_key                   = aws_s3_object.layer[each.key].key
  s3_object_version        = aws_s3_object.layer[each.key].version_id
  source_code_hash         = local.manifest.layers[each.key].sha256
  compatible_runtimes      = [local.catalogue.runtime]
  compatible_architectures = [local.catalogue.architecture]
}

resource "aws_lambda_function" "this" {
  for_each = local.names

  # checkov:skip=CKV_AWS_115:The mapping's maximum concurrency bounds sqs_processor, the lease bounds the jobs; reserved concurrency would send good messages to the dead-letter queue
  # checkov:skip=CKV_AWS_116:The queue keeps what sqs_processor fails on, the state machine retries its jobs, and a lost schedule or alarm is made up for by the next (triggers.tf)
  # checkov:skip=CKV_AWS_117:The functions reach AWS services only; a VPC would add endpoints and no boundary
  # checkov:skip=CKV_AWS_173:The environment holds names and numbers, no secret
  # checkov:skip=CKV_AWS_272:The archives are built in the pipeline that deploys them and compared by hash
  function_name    = each.value
  description      = local.catalogue.functions[each.key].description
  role             = module.role[each.key].arn
  handler          = local.catalogue.functions[each.key].handler
  runtime          = local.catalogue.runtime
  architectures    = [local.catalogue.architecture]
  memory_size      = local.catalogue.functions[each.key].memory_mb
  timeout          = local.catalogue.functions[each.key].timeout_s
  filename         = "${var.build_directory}/${local.manifest.functions[each.key].archive}"
  source_code_hash = local.manifest.functions[each.key].sha256
  layers           = [for layer in local.catalogue.functions[each.key].layers : aws_lambda_layer_version.this[layer].arn]
  publish          = true

  # Jobs park a portion, and a merge that outgrows its memory, in /tmp.
  ephemeral_storage {
    size = try(local.catalogue.functions[each.key].ephemeral_storage_mb, 512)
  }

  environment {
    variables = merge(local.rendered.environment, local.rendered.functions[each.key].environment)
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }
}

# Everything invokes what this alias points at; to go back a version is to move the alias (docs/release.md).
resource "aws_lambda_alias" "live" {
  for_each = local.names

  name             = "live"
  description      = "The version that runs"
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = aws_lambda_function.this[each.key].version
}
