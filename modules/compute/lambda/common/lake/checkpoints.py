"""Checkpoints: how far a layer has read its source, and which record of it is right.

Every merge commit carries its own checkpoint in the snapshot summary of the table it wrote, and in the
table's properties for the time when that snapshot has expired. The DynamoDB checkpoints table is the fast
look-up, and knows what no commit can say: that a run found nothing to change, or that an operator rewound the
checkpoint. It is believed as long as it speaks of the table's newest merge; a later merge, a rollback or a
rebuild makes the table's own word count again.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from common.runtime.errors import InvalidInput

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

# Keys of the snapshot summary of every merge commit. Values are text: a snapshot id has 64 bits, and JSON
# readers that turn numbers into doubles would round it.
SOURCE_SNAPSHOT_ID = "lean-ops.source-snapshot-id"
SOURCE_TOKEN = "lean-ops.source-token"  # noqa: S105 - a place in a table, not a credential
SOURCE_POSITION = "lean-ops.source-position"
RUN_ID = "lean-ops.run-id"
SECONDS = "lean-ops.seconds"
"""How long a merge took until it was committed."""
MERGE_SEQ = "lean-ops.merge-seq"
ERASED_INGESTED = "lean-ops.erased-ingested"
"""Of an erasure's commit in RAW: erased rows by the minute of ingestion, ``<minute since 1970>:<rows>``."""
STANDS_FOR = "lean-ops.stands-for"
"""Of a commit that merges nothing: the snapshots before it, back to the newest merge; they may expire."""
READ_BEFORE_ERASURE = "lean-ops.read-before-erasure"
"""Property of a table: checkpoints of its readers whose snapshots an erasure made it forget (``noted``)."""

MERGE_SEQ_COLUMN: Final = "_merge_seq"
"""Column that holds, in every row of a merged table, the number of the merge that last changed it."""

# Stands for "no snapshot" and "no checkpoint" where the state machine compares texts.
NOTHING: Final = "none"
# The position of "no checkpoint": sorts before every other, so that any run may move on from it.
START: Final = "000000000000000.000000"

_WHOLE: Final = 999_999
_PLAIN: Final = r"[0-9]+(?:[+*~][0-9]+)?"
_TOKEN: Final = re.compile(
    r"(?P<id>[0-9]+)(?:(?P<mode>[+*~])(?P<files>[0-9]+))?"
    rf"(?:@(?P<versions>{_PLAIN})/(?P<position>[0-9]{{15}}\.[0-9]{{6}}))?"
)
_POSITION: Final = re.compile(r"(?P<sequence>[0-9]{15})\.[0-9]{6}")


@dataclass(frozen=True)
class SourceCheckpoint:
    """How far a layer has read its source table.

    ``snapshot_id``: the source snapshot read last. ``sequence``: a number that grows with every change of
    the source (RAW: the snapshot's Iceberg sequence number; Curated: the merge sequence). ``files`` and
    ``full_scan`` say what of that snapshot is read:

    - ``files is None``: all of it, and everything before it;
    - ``files = k``: everything before it, and the first ``k`` of the data files it added;
    - ``files = k, full_scan``: the first ``k`` of all its live data files (a checkpoint expired, so the
      table is being read again from the start);
    - ``files = k, full_scan, by_age``: the same, the oldest files first (the checkpoint's snapshot was
      forgotten by an erasure, and reading goes on with the files that are younger).

    ``versions``, of Semantic's only: how far RAW has been searched for older versions of keys whose newest
    version was refused (``common.layers.versions``); None: not at all yet.
    """

    snapshot_id: int
    sequence: int
    files: int | None = None
    full_scan: bool = False
    by_age: bool = False
    versions: "SourceCheckpoint | None" = None

    @property
    def token(self) -> str:
        """The text that travels through JSON: ``plain_token``, and after ``@`` that of ``versions``."""
        if self.versions is None:
            return self.plain_token
        return f"{self.plain_token}@{self.versions.plain_token}/{self.versions.position}"

    @property
    def plain_token(self) -> str:
        """What is read of the source table: ``<id>``, ``<id>+<k>``, ``<id>*<k>`` or ``<id>~<k>``."""
        if self.files is None:
            return str(self.snapshot_id)
        mode = "~" if self.by_age else "*" if self.full_scan else "+"
        return f"{self.snapshot_id}{mode}{self.files}"

    @property
    def position(self) -> str:
        """Text that sorts the way reading progresses: a checkpoint never moves to a smaller position."""
        return f"{self.sequence:015d}.{_WHOLE if self.files is None else self.files:06d}"

    @classmethod
    def parse(cls, token: str, position: str) -> "SourceCheckpoint | None":
        """The inverse of ``token`` and ``position``; None for NOTHING. Raises InvalidInput."""
        if token == NOTHING:
            return None
        parts, place = _TOKEN.fullmatch(token), _POSITION.fullmatch(position)
        if parts is None or place is None:
            raise InvalidInput(
                "checkpoint: expected a token <id>, <id>+<files>, <id>*<files> or <id>~<files> with its "
                f"position, with or without @<token>/<position> of RAW, found {token!r} at {position!r}; "
                "read it again with GetAllCheckpoints"
            )
        files, versions = parts["files"], parts["versions"]
        return cls(
            int(parts["id"]),
            int(place["sequence"]),
            None if files is None else int(files),
            full_scan=parts["mode"] in ("*", "~"),
            by_age=parts["mode"] == "~",
            versions=cls.parse(versions, parts["position"]) if versions else None,
        )

    def summary(self) -> dict[str, str]:
        """The entries for the snapshot summary of the commit that consumed this much."""
        return {
            SOURCE_SNAPSHOT_ID: str(self.snapshot_id),
            SOURCE_TOKEN: self.token,
            SOURCE_POSITION: self.position,
        }


def noted(checkpoints: Iterable[SourceCheckpoint]) -> str:
    """Checkpoints as the property READ_BEFORE_ERASURE holds them: ``<snapshot id>:<sequence>``, each once."""
    return " ".join(sorted({f"{one.snapshot_id}:{one.sequence}" for one in checkpoints}))


def is_noted(checkpoint: SourceCheckpoint, properties: Mapping[str, str]) -> bool:
    """Whether a table's property says that it had the checkpoint's snapshot, with that number."""
    return noted([checkpoint]) in properties.get(READ_BEFORE_ERASURE, "").split()


@dataclass(frozen=True)
class Entry:
    """A checkpoint as GetAllCheckpoints and the checkpoints table hold it.

    ``target_snapshot_id``: the snapshot of the written table that it speaks of. ``rewound``: an operator set
    it (``lean-ops checkpoints set|reset``), so that it counts although the table has read further.
    """

    token: str
    position: str
    target_snapshot_id: str
    rewound: bool = False

    @property
    def checkpoint(self) -> SourceCheckpoint | None:
        """What it says; None for NOTHING. Raises InvalidInput."""
        return SourceCheckpoint.parse(self.token, self.position)


def reconcile(
    committed: Entry | None, recorded: Entry | None, since_last_merge: Collection[str]
) -> Entry | None:
    """The checkpoint that counts.

    ``committed`` and ``since_last_merge`` come from the table, as the functions of these names give them
    (``common.lake.history``), ``recorded`` from DynamoDB. The recorded one counts where it speaks of the
    newest merge and is not behind (a run found nothing to change, and so made no commit; where the source was
    only compacted, its token alone is new) or was rewound. Otherwise it is behind (a run ended between its
    commit and its update) or void (the table was rolled back, rebuilt or made anew).
    """
    if recorded is None or recorded.target_snapshot_id not in since_last_merge:
        return committed
    if committed is None or recorded.rewound or recorded.position >= committed.position:
        return recorded
    return committed


def load(client: "DynamoDBClient", table: str, topic: str, layer: str) -> Entry | None:
    """Read the recorded checkpoint of a topic's layer (consistently), or None.

    None, too, where the item is damaged (``damage`` says so): the table's own word counts then, and at most
    something is read again.
    """
    return _parsed(_item(client, table, topic, layer))[0]


def damage(client: "DynamoDBClient", table: str, topic: str, layer: str) -> str:
    """One sentence about what of a recorded checkpoint cannot be read; empty where everything can."""
    return _sentence(table, topic, layer, _parsed(_item(client, table, topic, layer))[1])


def forget_damaged(client: "DynamoDBClient", table: str, topic: str, layer: str) -> str:
    """Take a damaged checkpoint out of its item, which the next run writes again; gives ``damage``.

    As it is, no run could write over one whose position is no position. Nothing else of the item goes, and
    nothing that somebody has written since it was read.
    """
    item = _item(client, table, topic, layer)
    damaged = _parsed(item)[1]
    if not damaged or not _forget(client, table, topic, layer, item):
        return ""
    return _sentence(table, topic, layer, damaged)


def forget_void(
    client: "DynamoDBClient",
    table: str,
    topic: str,
    layer: str,
    *,
    recorded: Entry | None,
    counts: Entry | None,
) -> bool:
    """Take a recorded checkpoint out of its item that is further than the one that ``counts``; else False.

    It speaks of a state that the layer's table was taken back from, past ``lean-ops rollback`` or by one that
    was given up half-way. Runs move a checkpoint forward alone: where a portion changes nothing, and so makes
    no commit, they would read it again and again. To be called under the topic's lease.
    """
    void = recorded is not None and recorded != counts
    if not void or recorded is None or (counts is not None and recorded.position <= counts.position):
        return False
    item = _item(client, table, topic, layer)
    return _parsed(item)[0] == recorded and _forget(client, table, topic, layer, item)


def _forget(client: "DynamoDBClient", table: str, topic: str, layer: str, item: Mapping[str, Any]) -> bool:
    """Remove the checkpoint of an item; False where somebody has written it since it was read."""
    seen = {name: item[name] for name in (*_TEXTS, _REWOUND) if name in item}
    conditions = [f"{name} = :{name}" for name in seen]
    conditions += [f"attribute_not_exists({name})" for name in (*_TEXTS, _REWOUND) if name not in item]
    try:
        client.update_item(
            TableName=table,
            Key=_key(topic, layer),
            UpdateExpression=f"REMOVE {', '.join((*_TEXTS, _REWOUND))}",
            ConditionExpression=" AND ".join(conditions),
            ExpressionAttributeValues={f":{name}": value for name, value in seen.items()},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


_TEXTS: Final = ("source_token", "source_position", "target_snapshot_id")
_REWOUND: Final = "rewound"


def _key(topic: str, layer: str) -> "dict[str, AttributeValueTypeDef]":
    return {"checkpoint_id": {"S": f"{topic}#{layer}"}}


def _item(client: "DynamoDBClient", table: str, topic: str, layer: str) -> Mapping[str, Any]:
    return client.get_item(TableName=table, Key=_key(topic, layer), ConsistentRead=True).get("Item", {})


def _parsed(item: Mapping[str, Any]) -> tuple[Entry | None, list[str]]:
    """The entry of an item, and the attributes that are not what ``Entry`` takes."""
    if not any(name in item for name in (*_TEXTS, _REWOUND)):
        return None, []
    token, position, target = (str(item.get(name, {}).get("S", "")) for name in _TEXTS)
    rewound = item.get(_REWOUND, {"BOOL": False}).get("BOOL")
    fine = {
        "source_token": token == NOTHING or _TOKEN.fullmatch(token),
        "source_position": _POSITION.fullmatch(position),
        "target_snapshot_id": target == NOTHING or _TOKEN.fullmatch(target),
        _REWOUND: isinstance(rewound, bool),
    }
    damaged = [name for name, is_fine in fine.items() if not is_fine]
    return (None if damaged else Entry(token, position, target, bool(rewound))), damaged


def _sentence(table: str, topic: str, layer: str, damaged: Sequence[str]) -> str:
    if not damaged:
        return ""
    return (
        f"item {topic}#{layer} of {table}: expected a checkpoint as runs write it, found damaged "
        f"{', '.join(damaged)}; what the table of {layer} says of itself counts instead, and the next run "
        "writes the item again; if `lean-ops checkpoints` had just set it back, do that again"
    )
