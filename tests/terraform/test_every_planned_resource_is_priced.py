"""What is planned is what the bill counts: a resource, an alarm or a metric that it does not know fails."""

from lean_ops.checks.planned import Plan
from lean_ops.environment.repository import contract_files
from lean_ops.operate.cost.emitted import EMITTED
from lean_ops.operate.cost.resources import BY_USE, FREE, planned
from lean_ops.operate.cost.settings import settings_of


def test_every_type_is_counted_billed_by_use_or_free_for_a_reason(plan: Plan) -> None:
    counted = planned(settings_of(plan.env), len(contract_files())).keys()
    assert {resource.kind for resource in plan.resources} <= counted | BY_USE.keys() | FREE.keys()
    assert not counted & BY_USE.keys()
    assert not (counted | BY_USE.keys()) & FREE.keys()
    assert all((BY_USE | FREE).values())


def test_as_many_are_planned_as_are_counted(plan: Plan) -> None:
    for kind, count in planned(settings_of(plan.env), len(contract_files())).items():
        assert len(plan.of(kind)) == count, kind


def test_alarms_look_at_as_many_metrics_as_are_billed(plan: Plan) -> None:
    looked_at = [
        query
        for alarm in plan.of("aws_cloudwatch_metric_alarm")
        for query in alarm["metric_query"]
        if query["metric"]
    ]
    settings = settings_of(plan.env)
    watched = settings.watched_topics * settings.topic_alarm_metrics
    assert len(looked_at) == settings.alarm_metrics + watched


def test_every_own_metric_that_an_alarm_looks_at_is_counted(plan: Plan) -> None:
    looked_at = {
        query["metric"][0]["metric_name"]
        for alarm in plan.of("aws_cloudwatch_metric_alarm")
        for query in alarm["metric_query"]
        if query["metric"] and query["metric"][0]["namespace"] == "lean-ops"
    }
    assert looked_at <= {name for one in EMITTED for name in one.names}
    assert not plan.of("aws_cloudwatch_log_metric_filter")  # it would make metrics that no function emits


def test_settings_are_those_that_are_planned(plan: Plan) -> None:
    settings = settings_of(plan.env)
    (mapping,) = plan.of("aws_lambda_event_source_mapping")
    assert mapping["batch_size"] == settings.batch_size
    assert mapping["maximum_batching_window_in_seconds"] == settings.batching_window_s
    assert mapping["metrics_config"] == [{"metrics": ["EventCount"]}]
    for stream in plan.of("aws_kinesis_firehose_delivery_stream"):
        iceberg = stream["iceberg_configuration"][0]
        buffer = (iceberg["buffering_interval"], iceberg["buffering_size"])
        assert buffer == (settings.buffer_interval_s, settings.buffer_mib)
    assert {group["retention_in_days"] for group in plan.of("aws_cloudwatch_log_group")} == {
        settings.log_retention_days
    }
    (looks,) = [s for s in plan.of("aws_scheduler_schedule") if s["name"].endswith("-dispatcher")]
    assert looks["schedule_expression"] == f"rate({settings.schedule_minutes:.0f} minutes)"
    for function in plan.of("aws_lambda_function"):
        name = function["function_name"].removeprefix(f"lean-ops-{plan.env}-").replace("-", "_")
        known = settings.functions[name]
        assert (function["memory_size"], function["ephemeral_storage"][0]["size"]) == (
            known.memory_mb,
            known.ephemeral_mb,
        )
    (lifecycle,) = plan.of("aws_s3_bucket_lifecycle_configuration")
    everything = [rule for rule in lifecycle["rule"] if rule["id"] == "deleted-objects"]
    expiry = [one for rule in everything for one in rule["noncurrent_version_expiration"]]
    assert [one["noncurrent_days"] for one in expiry] == [settings.noncurrent_days]
