"""After the local stack's emulator was killed: what of that which was sent did it take back?

The ledger knows every message that the queue accepted. What is neither in RAW nor on its way there was
accepted in the emulator's last moments; its runs are marked as unfinished, so that ``lean-ops send --resume``
sends it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lean_ops.accounts import observation
from lean_ops.accounts.arrival import in_raw
from lean_ops.accounts.ledger import Ledger
from lean_ops.environment.target import Target

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Account:
    """Good messages of all runs: ``sent`` and ``lost`` different ones; ``in_queue``: still on their way.

    ``resume``: by what a run sends from (a file, or the simulation), the command that sends it again.
    """

    sent: int
    lost: int
    in_queue: int
    resume: dict[str, str] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """What a person has to know, and do next."""
        said = ["The emulator had not been stopped in order; it came back as it was last saved."]
        if not self.lost:
            kept = f", {self.in_queue:,} messages still in the queue" if self.in_queue else ""
            said.append(
                f"By the ledger nothing is lost: {self.sent:,} different good messages are there{kept}."
            )
            return said
        said.append(
            f"By the ledger {self.lost:,} of {self.sent:,} different good messages are neither in RAW nor in "
            "the queue: it accepted them in its last moments. Send them again, which repeats nothing:"
        )
        return said + [f"  {command}    ({source})" for source, command in self.resume.items()]


def account(target: Target, ledger: Ledger) -> Account:
    """Hold the ledger against RAW once the queue is empty, and mark runs of which messages are lost."""
    in_queue = observation.settle(target, timeout_s=_PATIENCE_S)
    sent = lost = 0
    resume: dict[str, str] = {}
    for run in ledger.runs():
        for topic, ids in ledger.sent_ids(run).items():
            missing = ids - in_raw(target, topic, ids)
            sent += len(ids)
            if in_queue or not missing:
                continue  # what is missing may be on its way
            lost += len(missing)
            ledger.take_back(run, missing)
            source = ledger.source(run)
            resume[_name(source)] = _command(source)
    return Account(sent, lost, in_queue, resume)


def _name(source: Mapping[str, object]) -> str:
    return str(source.get("file", "simulated devices"))


def _command(source: Mapping[str, object]) -> str:
    if "file" in source:
        return f"lean-ops send --file {source['file']} --resume …    with the options of before"
    return "lean-ops send --resume"
