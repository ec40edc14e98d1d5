"""Every type of resource that Terraform plans, and where its cost is: a test holds it against the plans.

``planned`` counts what the bill counts; ``BY_USE`` costs what happens to it, in the lines that are named;
``FREE`` costs nothing, for the reason that is given.
"""

from typing import Final

from lean_ops.operate.cost.settings import Settings, operation_tables


def planned(settings: Settings, topics: int) -> dict[str, int]:
    """How many of each type that costs by itself, or that lines are multiplied by, the bill is for."""
    scheduled = sum(function.every_s is not None for function in settings.functions.values())
    return {
        "aws_cloudwatch_metric_alarm": settings.alarms + settings.watched_topics * settings.topic_alarms,
        "aws_cloudwatch_dashboard": settings.dashboards,
        "aws_kms_key": settings.keys,
        "aws_secretsmanager_secret": settings.secrets,
        "aws_lambda_function": len(settings.functions),
        "aws_scheduler_schedule": scheduled,
        "aws_kinesis_firehose_delivery_stream": topics,
        "aws_glue_catalog_table": 4 * topics + operation_tables(),
    }


BY_USE: Final = {
    "aws_sqs_queue": "messages sent, received, deleted; polls of the idle queue",
    "aws_lambda_event_source_mapping": "polls of the idle queue; its metrics among those of events",
    "aws_sfn_state_machine": "states of runs",
    "aws_dynamodb_table": "leases, checkpoints, the breaker's record and the drift log, read and written",
    "aws_emrserverless_application": "jobs on Spark, where an environment has it: nothing while none runs",
    "aws_s3_bucket": "commits, files and reads of merges, metadata, a month of events",
    "aws_cloudwatch_log_group": "logs of functions and of states",
    "aws_athena_workgroup": "bytes that readers' queries scan, which `lean-ops query --engine athena` shows",
}

_ONE_OF_ITS = "a setting of what it belongs to"
FREE: Final = {
    "aws_sqs_queue_policy": _ONE_OF_ITS,
    "aws_sqs_queue_redrive_allow_policy": _ONE_OF_ITS,
    "aws_cloudwatch_log_stream": "its group is billed by bytes",
    "aws_s3_bucket_versioning": "old versions are counted with the bucket",
    "aws_s3_bucket_policy": _ONE_OF_ITS,
    "aws_s3_bucket_server_side_encryption_configuration": "uses of the key are counted with the key",
    "aws_s3_bucket_public_access_block": _ONE_OF_ITS,
    "aws_s3_bucket_ownership_controls": _ONE_OF_ITS,
    "aws_s3_bucket_lifecycle_configuration": "expiration is free",
    "aws_s3_object": "contracts, layers, the archive of jobs and the registry, some 200 MB: less than a cent",
    "aws_glue_catalog_database": "an object of the catalog, of which a million are free",
    "aws_lambda_alias": _ONE_OF_ITS,
    "aws_lambda_layer_version": "stored by Lambda, 75 GB free",
    "aws_lambda_permission": _ONE_OF_ITS,
    "aws_lambda_function_event_invoke_config": _ONE_OF_ITS,
    "aws_iam_role": "IAM is free",
    "aws_iam_role_policy": "IAM is free",
    "aws_sfn_alias": _ONE_OF_ITS,
    "aws_scheduler_schedule_group": _ONE_OF_ITS,
    "aws_cloudwatch_query_definition": "a saved text; a query costs when somebody runs it",
    "aws_athena_named_query": "a saved text; a query costs when somebody runs it",
    "aws_sns_topic": "a message an alarm, delivered to Lambda: less than a cent",
    "aws_sns_topic_policy": _ONE_OF_ITS,
    "aws_sns_topic_subscription": "deliveries to Lambda are free",
    "aws_kms_alias": _ONE_OF_ITS,
    "aws_budgets_budget": "a budget without actions is free",
}
