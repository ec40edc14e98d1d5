"""What is wrong, worst first: what the doctor finds, what is late, and what could not be looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from lean_ops.environment.target import Target
from lean_ops.operate.doctor import CHECKS, Check, Finding, Severity, look
from lean_ops.sight.flow import Flow
from lean_ops.sight.parts import Part, Publish, Seen
from lean_ops.sight.proof import Reconciled

PREFIX: Final = "check: "
# What may lose events, what stops them, what holds them up, what is refused, what is to be known.
ORDER: Final = (
    "disk", "streams", "queues", "delivery", "tables", "mapping", "breaker", "runs", "functions",
    "state machine", "topics", "sources", "contracts", "secret", "progress", "holds", "alarms",
    "refused rows", "quality", "waiting", "undescribed", "permissions", "operations",
)  # fmt: skip
_SHOWN: Final = 40


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong. ``advice``: what to do, commands between backticks; ``view`` shows more."""

    subject: str
    found: str
    advice: str
    severity: Severity
    view: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is wrong, worst first. ``open``: checks that have said nothing yet; ``left_out``: not listed."""

    problems: tuple[Wrong, ...]
    notes: tuple[Wrong, ...]
    open: int
    left_out: int

    @property
    def well(self) -> bool:
        """Whether everything was looked at, and nothing is broken."""
        return not self.problems and not self.open


def parts() -> list[Part]:
    """Each check of the doctor as a part of its own, in the order of what is worst."""
    return [
        Part(f"{PREFIX}{name}", name, partial(_examined, CHECKS[name]), every_s=20, within_s=60)
        for name in ORDER
    ]


def _examined(check: Check, target: Target, _: Publish) -> tuple[Finding, ...]:
    return look(target, check)


_VIEWS: Final = {
    "runs": "runs", "waiting": "waiting", "undescribed": "waiting", "refused rows": "waiting",
    "alarms": "alarms", "tables": "tables", "progress": "flow", "delivery": "flow", "holds": "flow",
}  # fmt: skip


def verdict(seen: Mapping[str, Seen]) -> Verdict:
    """What all that was seen comes to."""
    found: list[Wrong] = [*_unseen(seen.values())]
    silent = 0
    for name in ORDER:
        one = seen[f"{PREFIX}{name}"]
        silent += not one.ready and not one.trouble
        found += [
            Wrong(f.subject, f.found, f.advice, f.severity, _VIEWS.get(name, "")) for f in one.value or ()
        ]
        if name == "progress":
            found += [*_late(seen["flow"].value), *_unreconciled(seen["proof"].value)]
    problems = [one for one in dict.fromkeys(found) if one.severity is Severity.PROBLEM]
    notes = [one for one in dict.fromkeys(found) if one.severity is Severity.NOTE]
    shown = max(0, _SHOWN - len(problems))
    left_out = max(0, len(problems) - _SHOWN) + max(0, len(notes) - shown)
    return Verdict(tuple(problems[:_SHOWN]), tuple(notes[:shown]), silent, left_out)


def _unseen(seen: Iterable[Seen]) -> Iterable[Wrong]:
    """What could not be looked at; what fails for one reason is one thing."""
    by_reason: dict[str, list[str]] = {}
    for one in seen:
        if one.trouble:
            by_reason.setdefault(one.trouble, []).append(one.part.title)
    for reason, titles in by_reason.items():
        named = ", ".join(titles[:4]) + (f" and {len(titles) - 4} more" if len(titles) > 4 else "")
        yield Wrong(
            f"Could not look at {named}",
            reason,
            "what is shown of it is what was known before; `lean-ops doctor` looks again",
            Severity.PROBLEM,
        )


def _late(flow: Flow | None) -> Iterable[Wrong]:
    if flow is None:
        return
    for one in flow.worst_first:
        if one.late(flow.at) and one.promise is not None:
            minutes = one.worst_lag(flow.at).total_seconds() / 60
            yield Wrong(
                f"topic {one.topic}",
                f"events wait for {minutes:,.0f} min, and the contract promises them within "
                f"{one.promise.within.total_seconds() / 60:,.0f}",
                f"`lean-ops run --topic {one.topic}` and see where it ends",
                Severity.PROBLEM,
                "flow",
            )


def _unreconciled(marks: tuple[Reconciled, ...] | None) -> Iterable[Wrong]:
    for one in marks or ():
        if one.wrong:
            yield Wrong(
                f"topic {one.topic}",
                f"{one.wrong:,} keys are not where they must be, or more than once",
                f"`lean-ops reconcile --topic {one.topic}` says which, and what to do",
                Severity.PROBLEM,
                "proof",
            )
