"""Refused rows of before, as a contract treats personal data now.

Quarantine shows every refused row, its personal data treated as the contract of then said. Where a property
becomes personal, or is treated more strictly, what was written before stands in clear, or by the weaker
treatment, and stays so: nothing is ever deleted from Quarantine, and a row whose key was corrected since is
never written again. Here the rows are written as the contract says now, and the files and snapshots that
showed them otherwise are gone afterwards (``common.lake.upkeep``, erasing).

Of a text that looks like a hash nobody can tell whether it is one. It stays where the contract that wrote the
row hashed it; where that is not known, it is masked: what was hashed is lost, what was in clear is not shown.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.catalog import Catalog

from common.contract.casting import MASK, RESCUED, personal, treat_pii
from common.contract.contracts import Contract
from common.lake.rule import SOURCE_RULE
from common.lake.specifications import open_table
from common.lake.upkeep import Doomed, Showing, TableErased, erase, foresee_erasure
from common.runtime.settings import LakeSettings

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
_COLUMNS: Final = ("row_json", "_contract_version")
# Of a row that was treated anew: by which version. No column has such a name.
TREATED_BY: Final = "(treated by)"


class Treatment:
    """How refused rows are to stand under ``contract``.

    ``earlier``: contracts of before by version, as far as they are known. ``pii_key`` as for ``cast_rows``.
    """

    def __init__(self, contract: Contract, earlier: Mapping[str, Contract], pii_key: bytes) -> None:
        self._contract = contract
        self._earlier = {**earlier, contract.version: contract}
        self._pii_key = pii_key
        self._rescued = any(p.pii is not None for p in contract.properties)

    def of_rows(self, rows: pa.Table) -> pa.Table:
        """Rows of Quarantine, or some columns of them with ``row_json``, as they are to be."""
        place = rows.column_names.index("row_json")
        return rows.set_column(place, rows.schema.field("row_json"), pa.chunked_array([self._texts(rows)]))

    def others_than(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Which of some rows of Quarantine are to stand otherwise."""
        pairs = zip(rows["row_json"].to_pylist(), self._texts(rows).to_pylist(), strict=True)
        return np.fromiter((text != wanted for text, wanted in pairs), bool, rows.num_rows)

    def _texts(self, rows: pa.Table) -> "pa.Array[Any]":
        texts, versions = (rows[name].to_pylist() for name in _COLUMNS)
        kind = rows.schema.field("row_json").type
        treated = [self._text(text, version) for text, version in zip(texts, versions, strict=True)]
        column: pa.Array[Any] = pa.array(treated, kind)
        return column

    def _text(self, text: str | None, version: str | None) -> str | None:
        """One refused row as JSON; the very same text where nothing of it is to stand otherwise."""
        if text is None:
            return None
        row: dict[str, Any] = json.loads(text)
        by = self._earlier.get(row.get(TREATED_BY) or version or "")
        shown = {name: self._value(name, value, by) for name, value in row.items()}
        wanted = {name: value for name, value in shown.items() if value is not None}
        if wanted == row:
            return text
        return json.dumps(wanted | {TREATED_BY: self._contract.version}, ensure_ascii=False)

    def _value(self, name: str, value: Any, before: Contract | None) -> Any:
        """What is shown of a value that ``before`` has treated; None: nothing."""
        if name == RESCUED:
            return MASK if self._rescued else value
        of = personal(name, self._contract)
        if of is None:
            return value
        if of.pii != "hash":
            return MASK if of.pii == "mask" else None
        was = personal(name, before) if before is not None else None
        if value == MASK or (was is not None and was.pii == "hash"):
            return value
        if before is None and _HASH.match(str(value)):
            return MASK
        (hashed,) = treat_pii(pa.array([str(value)], pa.string()), of, self._pii_key).to_pylist()
        return hashed


def foresee_retreat(catalog: Catalog, settings: LakeSettings, topic: str, treatment: Treatment) -> Showing:
    """Which rows of Quarantine are to stand otherwise, and where; changes nothing."""
    return foresee_erasure(open_table(catalog, settings.table("quarantine", topic)), _rows(treatment))


def retreat(
    catalog: Catalog, settings: LakeSettings, topic: str, treatment: Treatment, run_id: str
) -> TableErased:
    """Write the rows of Quarantine as they are to stand; runs of the topic are to be kept away meanwhile.

    Raises the errors of ``common.lake.upkeep.erase``; whatever it raises, doing it again is safe.
    """
    identifier = settings.table("quarantine", topic)
    return erase(catalog, identifier, SOURCE_RULE, _rows(treatment), run_id=run_id, statistics=False)


def _rows(treatment: Treatment) -> Doomed:
    return Doomed(treatment.others_than, by=_COLUMNS, instead=treatment.of_rows)
