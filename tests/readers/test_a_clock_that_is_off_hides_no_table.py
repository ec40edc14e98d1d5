"""Iceberg's Java library refuses a table whose times are not in order; the next commit puts them into it.

That Trino, Athena's engine, refuses it shows that the rule is so which ``common.lake.times`` goes by.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import urlparse

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.accounts import observation
from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget
from lean_ops.local.trino import Trino

from ..support.pipeline import LeanOps

# Another program, on a machine whose clock is four minutes behind, gives a table a property.
COMMITS = """
import json, sys
from datetime import datetime, timedelta
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.table import update

class Behind(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(minutes=4)

update.datetime = Behind
properties, table = json.loads(sys.argv[1]), sys.argv[2]
found = GlueCatalog("another", **properties).load_table(table)
found.transaction().set_properties(a="b").commit_transaction()
"""


def deliver(target: LocalTarget, lean_ops: LeanOps, number: int) -> None:
    payload = {"device": {"id": "d", "type": "pump"}, "reading": {"value": number, "unit": "bar"}}
    event = {"message_id": f"m{number}", "idempotency_key": f"k{number}", "topic_name": "events"}
    body = json.dumps(event | {"publish_time": datetime.now(UTC).isoformat(), "payload": payload})
    target.client("sqs").send_message(QueueUrl=target.queue_url(target.source_queue), MessageBody=body)
    assert observation.settle(target, timeout_s=300) == 0
    done = lean_ops("run")
    assert done.exit_code == 0, done.output


def test_a_table_that_java_refuses_is_read_again_after_the_next_commit(
    target: LocalTarget, lean_ops: LeanOps, trino: Trino
) -> None:
    deliver(target, lean_ops, 1)
    identifier, count = target.settings.table("curated", "events"), "SELECT count(*) FROM curated_events"
    assert trino.query(count)[1] == [(1,)]
    glue, s3 = (target.client(name).meta.endpoint_url for name in ("glue", "s3"))
    properties = {
        "glue.region": target.region, "glue.endpoint": glue,
        "glue.access-key-id": CREDENTIAL, "glue.secret-access-key": CREDENTIAL,
        "s3.region": target.region, "s3.endpoint": s3, "s3.force-virtual-addressing": "false",
        "s3.access-key-id": CREDENTIAL, "s3.secret-access-key": CREDENTIAL,
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", COMMITS, json.dumps(properties), identifier], check=True)
    place = urlparse(target.catalog().load_table(identifier).metadata_location)
    with pytest.raises(InvalidInput, match="Error processing metadata for table"):
        trino.query(count)
    deliver(target, lean_ops, 2)
    assert trino.query(count)[1] == [(2,)]
    # Behind the test, all metadata of the stack is held to what Java reads.
    target.client("s3").delete_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
