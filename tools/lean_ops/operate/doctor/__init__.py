"""The doctor: holds an environment against the repository and against itself, and says what to do.

    findings   what a check says            intake      queues, mapping, breaker, streams, what waits there
    code       functions, state machine, contracts, secret, alarms
    sources    the registry of sources, and messages that none is for
    pipeline   last runs, what was accepted and is not delivered, what contracts refuse
    lake       tables against their specifications, checkpoints against tables, leases, operations

A check only reads. One that cannot look (a permission, a service that does not answer) is a finding itself.
"""

from lean_ops.operate.doctor.examination import CHECKS, Checked, Examination, examine, look
from lean_ops.operate.doctor.findings import Check, Finding, Severity

__all__ = ["CHECKS", "Check", "Checked", "Examination", "Finding", "Severity", "examine", "look"]
