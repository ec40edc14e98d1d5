"""All checks of an environment, one after the other."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from lean_ops.environment.target import Target
from lean_ops.operate.doctor import code, intake, lake, pipeline, sources
from lean_ops.operate.doctor.findings import Check, Finding, Severity

CHECKS: Final[dict[str, Check]] = {
    "disk": pipeline.place,
    "queues": intake.queues,
    "mapping": intake.mapping,
    "breaker": intake.breaker,
    "streams": intake.streams,
    "waiting": intake.dead_letters,
    "functions": code.functions,
    "state machine": code.state_machine,
    "topics": code.topics,
    "sources": sources.sources,
    "undescribed": sources.undescribed,
    "contracts": code.contracts,
    "secret": code.secret,
    "alarms": code.alarms,
    "permissions": code.permissions,
    "tables": lake.tables,
    "runs": pipeline.runs,
    "delivery": pipeline.delivery,
    "refused rows": pipeline.refused,
    "quality": pipeline.quality,
    "progress": lake.progress,
    "holds": lake.holds,
    "operations": lake.operations,
}


@dataclass(frozen=True)
class Checked:
    """What one check found; nothing, where all is well."""

    check: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is broken; notes do not count."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)


@dataclass(frozen=True)
class Examination:
    """What all checks found, looked at with the rights of ``caller``."""

    caller: str
    checked: tuple[Checked, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is broken."""
        return all(one.passed for one in self.checked)


def examine(target: Target, *, thorough: bool = False) -> Examination:
    """Run every check on ``target``; raises only where not even the caller's identity can be asked for.

    ``thorough``: look at all of what is else looked at in part.
    """
    caller = target.caller
    checks = CHECKS | ({"tables": partial(lake.tables, thorough=True)} if thorough else {})
    return Examination(caller, tuple(Checked(name, look(target, check)) for name, check in checks.items()))


def look(target: Target, check: Check) -> tuple[Finding, ...]:
    """What one check finds; that it cannot look is a finding, too."""
    findings: list[Finding] = []
    try:
        findings.extend(check(target))
    except Exception as error:  # whatever keeps a check from looking is what the operator has to know
        kind = type(error).__name__
        findings.append(
            Finding(
                "this check",
                f"expected to look, found {kind}: {error}",
                "see whether the service answers and whether your role may read it",
            )
        )
    return tuple(findings)
