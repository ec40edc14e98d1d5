"""Stand-ins of services, as far as functions and commands meet them: every call is an external one.

catalog         Iceberg's, on SQLite; commits are as optimistic as Glue's
bucket          the lake bucket: objects beside the files of tables; it keeps no versions
functions       invoke, and the event source mapping of the queue
alarms          the breaker's two alarms and its metric, as the front fed them
glue            where tables are, and views of them
"""

import hashlib
import json
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata

from common.contract.store import contract_key
from common.intake.breaker.evidence import ALARMS
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of

from ..support.catalog import LocalCatalog
from .clock import START, modelled
from .kept import which_file

if TYPE_CHECKING:
    from .world import World

TOPIC: Final = "events"
CATALOG: Final = "simulated"
MAPPING: Final = {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 5, "ScalingConfig": {}}


class WatchedCatalog(LocalCatalog):
    """Iceberg's catalog on SQLite; every call of it is an external one.

    Metadata that was written here is not parsed again; that its file says the same is looked at in the end
    (``resting``).
    """

    def __init__(self, world: "World", folder: Path) -> None:
        self._world = world
        self._kept: dict[tuple[Any, ...], TableMetadata] = {}
        super().__init__(folder, CATALOG, warehouse=folder)

    def pointers(self) -> dict[str, str]:
        """Place of the metadata of every table."""
        return dict(self._direct.execute("SELECT table_name, metadata_location FROM iceberg_tables"))

    def _metadata(self, place: str) -> TableMetadata:
        return self._kept.get(which_file(place)) or super()._metadata(place)

    def _committed(self, place: str, metadata: TableMetadata) -> None:
        self._kept[which_file(place)] = metadata


def _watched(name: str) -> Any:
    plain = getattr(WatchedCatalog, name)

    def method(self: WatchedCatalog, *arguments: Any, **options: Any) -> Any:
        # register_table hands on to load_table: one call of the service. What the catalog itself reads to
        # commit was given to nobody.
        if self._world.inside:
            return plain(self, *arguments, **options)

        def call() -> Any:
            answer = plain(self, *arguments, **options)
            if isinstance(answer, Table) and not self._world.landing:  # else nobody gets to see it
                self._world.watch.loads(answer)
            return answer

        return self._world.external(call, f"catalog {name.replace('_', ' ')}")

    return method


def _commit(catalog: "WatchedCatalog", table: Table, *changes: Any) -> CommitTableResponse:
    done = False

    def call() -> CommitTableResponse:
        nonlocal done
        if done:  # the same request names the version of the table that the first one has replaced
            raise CommitFailedException("the table was updated concurrently")
        before = catalog.load_table(table.name())
        answer = LocalCatalog.commit_table(catalog, table, *changes)
        done = True
        catalog._world.watch.commits(before, answer.metadata)
        return answer

    return catalog._world.external(call, f"catalog commit to {table.name()[-1]}")


for _name in ("load_table", "register_table", "drop_table", "table_exists"):
    setattr(WatchedCatalog, _name, _watched(_name))
setattr(WatchedCatalog, "commit_table", _commit)  # noqa: B010 - as the others


class Functions:
    """Lambda's client."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def invoke(self, FunctionName: str, Payload: bytes, **_: Any) -> dict[str, Any]:
        function = FunctionName.partition(":")[0].rpartition(f"{self._world.target.name_prefix}-")[2]
        answer = self._world.invoke(function.replace("-", "_"), json.loads(Payload))
        return {"Payload": BytesIO(json.dumps(answer).encode())}

    def list_event_source_mappings(self, FunctionName: str) -> dict[str, Any]:
        found = self._world.external(lambda: dict(self._world.front.mapping), "look at the mapping")
        return {"EventSourceMappings": [{"UUID": FunctionName, **found}]}

    def update_event_source_mapping(self, UUID: str, Enabled: bool, **pace: Any) -> None:
        def call() -> None:
            self._world.front.mapping.update(State="Enabled" if Enabled else "Disabled", **pace)

        self._world.external(call, "change the mapping")


class Alarms:
    """CloudWatch's client: what the breaker asks of it."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def describe_alarms(self, AlarmNames: list[str], StateValue: str) -> dict[str, Any]:
        modelled(StateValue == "ALARM", f"alarms in state {StateValue}")

        def call() -> dict[str, Any]:
            rings = dict(zip(ALARMS, self._world.front.ringing(), strict=True))
            up = [name for name in AlarmNames if rings[name.split("-", 2)[2]]]
            return {"MetricAlarms": [{"AlarmName": name} for name in up]}

        return self._world.external(call, "describe alarms")

    def get_metric_data(
        self, MetricDataQueries: list[Any], StartTime: datetime, EndTime: datetime
    ) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            until = min(EndTime, self._world.front.seen_until())
            batches = [b for b in self._world.front.batches if StartTime <= b.minute < until]
            values = {"batches": len(batches), "failed": sum(b.failed > 0 for b in batches)}
            return {"MetricDataResults": [{"Id": name, "Values": [n]} for name, n in values.items()]}

        modelled(len(MetricDataQueries) == 2, f"{len(MetricDataQueries)} metrics at once")
        return self._world.external(call, "read metrics")


class Glue:
    """Glue's client: the tables of the database, and views, which are kept nowhere else (``World.views``)."""

    def __init__(self, world: "World") -> None:
        self._world = world
        kinds = ("AlreadyExistsException", "EntityNotFoundException")
        self.exceptions = SimpleNamespace(**{kind: type(kind, (ClientError,), {}) for kind in kinds})

    def get_table(self, DatabaseName: str, Name: str) -> dict[str, Any]:
        return {"Table": self._world.external(lambda: self._view(Name), "look at a view")}

    def create_table(self, DatabaseName: str, TableInput: dict[str, Any]) -> None:
        def call() -> None:
            if TableInput["Name"] in self._world.views:
                raise self._error("AlreadyExistsException", "CreateTable")
            self._world.views[TableInput["Name"]] = TableInput

        self._world.external(call, "create a view")

    def update_table(self, DatabaseName: str, TableInput: dict[str, Any]) -> None:
        def call() -> None:
            self._view(TableInput["Name"])
            self._world.views[TableInput["Name"]] = TableInput

        self._world.external(call, "change a view")

    def _view(self, name: str) -> dict[str, Any]:
        modelled(name not in self._world.catalog.pointers(), f"Glue's word for the table {name}")
        if name not in self._world.views:
            raise self._error("EntityNotFoundException", "GetTable")
        return self._world.views[name]

    def _error(self, kind: str, operation: str) -> ClientError:
        error: ClientError = getattr(self.exceptions, kind)({"Error": {"Code": kind}}, operation)
        return error

    def get_paginator(self, name: str) -> Any:
        modelled(name == "get_tables", f"pages of {name}")

        def page() -> dict[str, Any]:
            found = self._world.catalog.pointers()
            tables = [self._table(name, place) for name, place in sorted(found.items())]
            return {"TableList": [*tables, *self._world.views.values()]}

        return SimpleNamespace(paginate=lambda **_: iter([self._world.external(page, "list tables")]))

    def _table(self, name: str, place: str) -> dict[str, Any]:
        # Not where this machine has it: names of runs are made of it.
        place = place.replace(f"file://{self._world.folder}", "s3://lake")
        return {"Name": name, "Parameters": {"metadata_location": place}}


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Bucket:
    """The lake bucket: contract and registry, what operations put there, and the files of tables.

    It keeps no versions. Files of tables are listed by their folder's name, as on AWS.
    """

    def __init__(self, world: "World") -> None:
        self._world = world

    def head_object(self, Key: str, **_options: Any) -> dict[str, Any]:
        return self._world.external(lambda: {"Size": len(self._content(Key))}, f"look at {_kind(Key)}")

    def get_object(self, Key: str, **_options: Any) -> dict[str, Any]:
        content = self._world.external(lambda: self._content(Key), f"get {_kind(Key)}")
        return {"Body": BytesIO(content), "ETag": _tag(content)}

    def put_object(
        self, Key: str, Body: bytes, IfMatch: str = "", IfNoneMatch: str = "", **_options: Any
    ) -> None:
        def call() -> None:
            if IfMatch or IfNoneMatch:
                try:
                    there = _tag(self._content(Key))
                except ClientError:
                    there = ""
                if there != IfMatch:
                    raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": Key}}, "PutObject")
            if Key == contract_key(TOPIC):
                self._world.take_contract(Body.decode())
            elif self._file(Key).is_file():
                self._file(Key).write_bytes(Body)
            else:
                self._world.objects[Key] = Body
                self._world.put_at[Key] = self._world.now

        self._world.external(call, f"put {_kind(Key)}")

    def copy_object(self, Key: str, CopySource: dict[str, str], **_options: Any) -> None:
        self.put_object(Key, self._content(CopySource["Key"]))

    def delete_object(self, Key: str, **_options: Any) -> None:
        self.delete_objects({"Objects": [{"Key": Key}]})

    def delete_objects(self, Delete: dict[str, Any], **_options: Any) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for one in Delete["Objects"]:
                self._world.objects.pop(one["Key"], None)
                if (path := self._file(one["Key"])).is_file():
                    path.unlink()
            return {}

        return self._world.external(call, "delete objects")

    def get_paginator(self, operation: str) -> Any:
        def pages(Prefix: str = "", StartAfter: str = "", **_: Any) -> list[dict[str, Any]]:
            found = self._world.external(lambda: self._listed(Prefix), "list objects")
            after = [one for one in found if one["Key"] > StartAfter]
            return [{"Versions": after} if operation == "list_object_versions" else {"Contents": after}]

        modelled(operation in ("list_object_versions", "list_objects_v2"), f"pages of {operation}")
        return SimpleNamespace(paginate=pages)

    def _listed(self, prefix: str) -> list[dict[str, Any]]:
        files = (path for path in self._tables().rglob("*") if path.is_file())
        keys = [*self._world.objects, *(str(path.relative_to(self._tables())) for path in files)]
        common = {"IsLatest": True, "VersionId": "null", "Size": 1}
        return [
            {"Key": key, **common, "LastModified": self._world.put_at.get(key, START)}
            for key in sorted(keys)
            if key.startswith(prefix)
        ]

    def _content(self, key: str) -> bytes:
        if key == REGISTRY_KEY:
            return registry_of({TOPIC: Topic(contract=self._world.has_contract)}).written()
        if key == contract_key(TOPIC) and self._world.has_contract:
            return self._world.contract_text().encode()
        if key in self._world.objects:
            return self._world.objects[key]
        if self._file(key).is_file():
            return self._file(key).read_bytes()
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")

    def _tables(self) -> Path:
        return self._world.folder / self._world.target.database

    def _file(self, key: str) -> Path:
        return self._tables() / key


def _kind(key: str) -> str:
    """What an object is, by its prefix."""
    return key.partition("/")[0]


def minute_of(moment: datetime) -> datetime:
    """The whole minute of a moment, as metrics have it."""
    return moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)
