"""Checks of sources: the registry is what the repository says, and every message has a source."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from common.intake import archive as dead_letter_archive
from common.intake.events import RejectCode
from common.intake.queue_pass import QueuedMessage
from common.intake.sources import SourceError
from common.intake.sources.matching import content_of
from common.intake.sources.registry import SOURCES_KEY, read_sources
from common.runtime import outside
from common.runtime.errors import ServiceFailure
from common.runtime.topics import read_registry
from lean_ops.environment.source_files import registry_content
from lean_ops.environment.target import Target
from lean_ops.operate.doctor.findings import Finding, Severity

_OBJECTS: Final = 50
_DAYS: Final = 7
_FORMS: Final = 3
_FORM_CHARS: Final = 300
_ITEMS: Final = 2
_DEPTH: Final = 8
# A name of a field is shown; what may be a device's, or a person's, is not.
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$@°%/. -]{1,30}")


def sources(target: Target) -> Iterator[Finding]:
    """The sources are those of the repository, and can be read."""
    s3, place = target.client("s3"), f"s3://{target.lake_bucket}/{SOURCES_KEY}"
    deployed: Any = None
    try:
        if read_registry(s3, target.lake_bucket).sources:
            read_sources(s3, target.lake_bucket)
            body = s3.get_object(Bucket=target.lake_bucket, Key=SOURCES_KEY)["Body"].read()
            deployed = json.loads(body)
    except ServiceFailure as error:
        yield Finding(place, str(error), target.deploy_advice)
        return
    try:
        content = registry_content()
    except SourceError as error:
        yield Finding("sources/", str(error), "`lean-ops source lint` says what is wrong with each")
        return
    # Terraform and the local stack write the same in different letters.
    if deployed != (None if content is None else json.loads(content)):
        yield Finding(place, "expected the sources of this checkout, found others", target.deploy_advice)


def undescribed(target: Target) -> Iterator[Finding]:
    """No message is for no source: of letters of the last days, as far as they are archived."""
    s3, today = target.client("s3"), outside.now().date()
    days = (today - timedelta(days=ago) for ago in range(_DAYS))
    newest = (one for day in days for one in dead_letter_archive.objects(s3, target.lake_bucket, day, day))
    forms: dict[str, int] = {}
    for one in islice(newest, _OBJECTS):
        for letter in one.messages:
            if letter.text_attribute("error_code") == RejectCode.NO_SOURCE:
                form = _form_of(letter)
                forms[form] = forms.get(form, 0) + 1
    for form, count in sorted(forms.items(), key=lambda entry: -entry[1])[:_FORMS]:
        yield Finding(
            target.dead_letter_queue,
            f"{count} messages of the last {_DAYS} days are for no source; their form, values masked: {form}",
            "describe the device (docs/sources.md), then `lean-ops replay dlq --reason NO_SOURCE`",
            Severity.NOTE,
        )


def masked(found: Any, depth: int = 0) -> Any:
    """The form of a JSON value: kinds in place of values, and names only where they can be no one's."""
    if depth == _DEPTH:
        return "…"
    if isinstance(found, dict):
        return {
            name if _PLAIN_NAME.fullmatch(name) else f"name {i + 1}": masked(value, depth + 1)
            for i, (name, value) in enumerate(islice(found.items(), 30))
        }
    if isinstance(found, list):
        return [masked(item, depth + 1) for item in found[:_ITEMS]]
    if isinstance(found, bool) or found is None:
        return found
    return "text" if isinstance(found, str) else "number"


def _form_of(letter: QueuedMessage) -> str:
    content, topic = content_of(letter.body)
    try:
        text = content if isinstance(content, str) else content.decode()
        form = json.dumps(masked(json.loads(text, parse_int=float)), ensure_ascii=False)
    except (ValueError, RecursionError):
        form = "no JSON"
    levels = "" if topic is None else f" on an MQTT topic of {topic.count('/') + 1} levels"
    return f"{form[:_FORM_CHARS]}{levels}"
