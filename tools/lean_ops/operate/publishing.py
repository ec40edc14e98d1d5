"""Putting a contract in place, and bringing what is there along (docs/adr/0028).

1. Where rows of Semantic were typed by a contract that types or treats them otherwise, they are made anew
   beside the live table, under the contract to come. Runs go on meanwhile, under the one in place.
2. With no run in progress the contract takes the place of the one before (``put_in_place``), the refused rows
   of before are treated as it says (``common.layers.retreating``), and Semantic is swapped in: one commit,
   columns and types included.

So readers see all rows as the one contract says, or all as the other, and a publication that ends before
step 2 has changed nothing that they see. What is left to do is read off the tables, never remembered: rows
carry the version that typed them. So a publication that was killed is finished by the same command, and so
is one that ``terraform apply`` began.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from common.contract.contracts import Contract, load_contract
from common.contract.properties import Property
from common.contract.store import KeptContract, keep_contract, kept_contracts, placed_contract, put_contract
from common.lake.closing import closed_before
from common.lake.reading import read_rows
from common.lake.specifications import open_table
from common.layers.retreating import Treatment, foresee_retreat, retreat
from common.runtime.errors import ContractError, InvalidInput
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import leases
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.contracts import MOST, published_text
from lean_ops.operate.holds import Held, Place
from lean_ops.operate.rebuild import (
    Comparison,
    Prepared,
    Swapped,
    Under,
    discard,
    finish,
    fits,
    hashing_secret,
    prepare,
)

_STRICTNESS: Final = {None: 0, "hash": 1, "mask": 2, "drop": 2}


@dataclass(frozen=True)
class Behind:
    """What of a topic's tables is not as a contract says.

    ``rows``: of Semantic, by the version that typed them. ``clear``: properties that such rows show in clear,
    or treated less strictly than the contract says; unknown versions may show any. ``refused``: rows of
    Quarantine to be treated anew.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    clear: tuple[str, ...] = ()
    refused: int = 0


@dataclass(frozen=True)
class Published:
    """What was done.

    ``before``: the version that was in place; ``put``: whether this one was put there. ``behind``: what the
    rows of before were, ``left`` what of them stays. ``refused``: rows of Quarantine treated anew.
    ``comparison`` and ``swapped``: of the rebuild, where one was needed. ``snapshots``: of Semantic that
    still show what is personal now as it stood.
    """

    topic: str
    version: str
    before: str | None
    put: bool
    behind: Behind
    left: Behind = Behind()
    refused: int = 0
    comparison: Comparison | None = None
    swapped: Swapped | None = None
    snapshots: int = 0


def kept(target: Target, topic: str) -> list[KeptContract]:
    """The contracts of a topic that were put in place by this command line, the first one first."""
    return list(kept_contracts(target.client("s3"), target.lake_bucket, topic))


def known(target: Target, topic: str) -> dict[str, Contract]:
    """Contracts of a topic by version: those kept, and the one in place; none that cannot be read."""
    texts = {one.version: one.text for one in kept(target, topic)}
    found = {}
    for text in (*texts.values(), published_text(target, topic)):
        if text is None:
            continue
        try:
            contract = load_contract(text, topic)
        except ContractError:  # of an earlier release, or put there by hand: its rows count as unknown
            continue
        found[contract.version] = contract
    return found


def behind(target: Target, contract: Contract, earlier: Mapping[str, Contract]) -> Behind:
    """What is to be brought along for a contract; reads one column of Semantic, and all of Quarantine."""
    versions: Counter[str] = Counter()
    semantic = open_table(target.catalog(), target.settings.table("semantic", contract.topic))
    for batch in read_rows(semantic, columns=["_contract_version"]):
        found: list[Any] = batch.column("_contract_version").to_pylist()
        versions.update(version or "" for version in found)
    rows = {
        version: count
        for version, count in sorted(versions.items())
        if version != contract.version and not _same_rows(earlier.get(version), contract)
    }
    weaker = {name for version in rows for name in _weaker(earlier.get(version), contract)}
    showing = foresee_retreat(
        target.catalog(), target.settings, contract.topic, _treatment(target, contract, earlier)
    )
    return Behind(rows, tuple(sorted(weaker)), showing.rows)


def put_in_place(
    target: Target, contract: Contract, text: str, before: str | None, held: Iterable[Held]
) -> bool:
    """Put the contract where the jobs read it; False where it is there.

    ``before``: the text that was judged to be there. What is ``held`` keeps away runs and rebuilds. Raises
    InvalidInput where another has been put there meanwhile.
    """
    s3, bucket, topic = target.client("s3"), target.lake_bucket, contract.topic
    found, tag = placed_contract(s3, bucket, topic)
    overtaken = InvalidInput(
        f"contract of {topic}: expected the one in place that this one was compared with, found that another "
        "was put there meanwhile; run the command again to see what is changed now"
    )
    if found not in (before or "", text):  # the same command beside this one may have been first
        raise overtaken
    for one in held:
        one.changing()
    if found and (was := readable(found, topic)) is not None:
        known_by = {one.version: one.text for one in kept(target, topic)}
        # `terraform apply` keeps no texts. What is kept is not kept again: it would be dated anew.
        if known_by.get(was.version) != found:
            keep_contract(s3, bucket, topic, was.version, found)
    if found == text:
        return False
    # Runs and other commands are kept away; `terraform apply` is not, and may come in this very second.
    if not put_contract(s3, bucket, topic, contract.version, text, over=tag):
        raise overtaken
    return True


def publish(
    target: Target,
    contract: Contract,
    text: str,
    before: str | None,
    entry: audit.Entry,
    *,
    wait_s: float,
    leave: bool = False,
    most: float = MOST,
) -> Published:
    """All of it; ``leave``: rows of Semantic stay as they are until they change. Can be repeated.

    Where RAW has dropped what older rows were made from, these are taken over as they are. Where what was
    made anew lacks more than the share ``most`` of the rows that Semantic has, or cannot be compared, nothing
    is put in place: ``put`` and ``swapped`` of what was done say so.

    Raises InvalidInput where another operation, or a run, is still at work after ``wait_s`` seconds, and
    where rows that are to be left show what is personal under the contract.
    """
    topic = contract.topic
    doing = f"publication of the contract of {topic}"
    was = readable(before, topic)
    earlier = known(target, topic)
    under = Under(contract, text)

    def made_anew(found: Behind) -> Prepared | None:
        """The rows of before under the contract, beside; None where they stay as they are."""
        if leave or not found.rows:
            return None
        if not fits(target, topic, under):
            discard(target, topic, MergedLayer.SEMANTIC)
        day = _first_day(target, topic)
        return prepare(target, topic, MergedLayer.SEMANTIC, entry, first_day=day, under=under)

    def refused(ready: Prepared, result: Published) -> Published:
        discard(target, topic, MergedLayer.SEMANTIC)
        return replace(result, left=result.behind, comparison=ready.comparison)

    with Place(target, topic, "rebuild-semantic").worked_on(entry, doing, wait_s=wait_s) as held:
        found = behind(target, contract, earlier)
        if leave and found.clear:
            raise InvalidInput(
                f"contract of {topic}: expected no row of Semantic to show what is personal under version "
                f"{contract.version} before rows may be left as they are, found {', '.join(found.clear)} in "
                f"{sum(found.rows.values()):,} rows; publish without --leave-rows"
            )
        result = Published(topic, contract.version, was.version if was else None, put=False, behind=found)
        if (ready := made_anew(found)) is not None and not _agreed(ready.comparison, most):
            return refused(ready, result)
        with leases.exclusively(target, topic, entry, doing, wait_s=wait_s) as alone:
            # Looked at again: until it ended, a run may have typed rows by the contract of before.
            found = behind(target, contract, earlier)
            if ready is None:
                ready = made_anew(found)
                if ready is not None and not _agreed(ready.comparison, most):
                    return refused(ready, replace(result, behind=found))
            treatment = _treatment(target, contract, earlier)
            put = put_in_place(target, contract, text, before, (held, alone))
            done = _retreat(target, topic, treatment, entry, alone)
            result = replace(result, put=put, behind=found, left=found, refused=done)
            if ready is None:
                return result
            held.changing()
            swapped = finish(target, ready, entry)
            entry.counts["swapped"] = 1
    semantic = open_table(target.catalog(), target.settings.table("semantic", topic))
    return replace(
        result,
        comparison=ready.comparison,
        swapped=swapped,
        left=behind(target, contract, earlier),
        snapshots=len(semantic.snapshots()) - 1 if found.clear else 0,
    )


def _agreed(found: Comparison | None, most: float) -> bool:
    """Whether what was made anew may take the place of the live rows; also where it did so before."""
    if found is None:
        return True
    empty = found.live_rows > 0 and not found.rebuilt_rows
    return not found.unreadable and not empty and found.only_live <= most * found.live_rows


def _first_day(target: Target, topic: str) -> date | None:
    """The first day that RAW still has, where Semantic has rows from before; None: RAW has everything."""
    dropped = closed_before(open_table(target.catalog(), target.settings.table("raw", topic)))
    if dropped is None:
        return None
    semantic = open_table(target.catalog(), target.settings.table("semantic", topic))
    older = semantic.scan(row_filter=f"publish_time < '{dropped.isoformat()}'").plan_files()
    return dropped.date() if any(True for _ in older) else None


def _retreat(target: Target, topic: str, treatment: Treatment, entry: audit.Entry, held: Held) -> int:
    held.check()
    done = retreat(target.catalog(), target.settings, topic, treatment, f"publish-{entry.operation_id}")
    entry.counts["refused_rows_treated"] = done.rows
    return done.rows


def _treatment(target: Target, contract: Contract, earlier: Mapping[str, Contract]) -> Treatment:
    hashes = any(of.pii == "hash" for of in contract.properties)
    return Treatment(contract, earlier, hashing_secret(target) if hashes else b"")


def readable(text: str | None, topic: str) -> Contract | None:
    """The contract of a text; None where there is none, or it is of an earlier release."""
    try:
        return load_contract(text, topic) if text is not None else None
    except ContractError:
        return None


def types_otherwise(before: str | None, text: str, topic: str) -> bool:
    """Whether rows that the contract of before has typed would be others under this one."""
    was, now = readable(before, topic), readable(text, topic)
    return was is not None and now is not None and not _same_rows(was, now)


def _same_rows(was: Contract | None, now: Contract) -> bool:
    """Whether both contracts make the same row of Semantic of any row of Curated."""
    return was is not None and set(map(_judged, was.properties)) == set(map(_judged, now.properties))


def _judged(of: Property) -> Property:
    return replace(of, description=None, classification=None)


def _weaker(was: Contract | None, now: Contract) -> Iterable[str]:
    """Properties that are treated less strictly by the contract of before; all personal ones of unknown."""
    for of in now.properties:
        if of.pii is None:
            continue
        before = [p for p in was.properties if p.source == of.source] if was is not None else []
        if was is None or any(_STRICTNESS[p.pii] < _STRICTNESS[of.pii] for p in before):
            yield of.name
