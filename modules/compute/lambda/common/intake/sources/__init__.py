"""Sources: devices as they already speak.

A description (``sources/<name>.yaml``) says for whom it is, how messages are unpacked, where readings are
in them, and what of each is key, time, topic and payload (docs/sources.md). ``Sources.read`` decides what
a message becomes. Every form becomes JSON first, and everything after works on slices of that text
(``slices``), so that numbers stay exact. Codecs whose libraries are large are loaded by those who use
them.

Open to others:

    registry         the sources of an environment, as data
    matching         how a message came, and for whom it is
    outcome          what a message became: events, skips, refusals
    Sources          all sources of an environment
    Source           one of them, compiled
    SourceError      a description says what cannot be
    compile_source   a description becomes a Source
    rfc3339          a time as text
"""

from common.intake.sources import matching, outcome, registry
from common.intake.sources.paths import SourceError
from common.intake.sources.registry import Sources
from common.intake.sources.scope import rfc3339
from common.intake.sources.source import Source, compile_source

__all__ = [
    "Source",
    "SourceError",
    "Sources",
    "compile_source",
    "matching",
    "outcome",
    "registry",
    "rfc3339",
]
