"""What may be personal data: by the name of a field, and by what its values look like.

A suspicion is said, and settled by a person who states a classification: nothing is classified by it, and
nothing is ruled out where there is none.
"""

import re
from typing import Any, Final

import pyarrow.compute as pc

from common.contract.typed_texts import Column

_NAMES: Final = re.compile(
    r"email|e_mail|phone|iban|passport|birth|surname|first_?name|last_?name|full_?name|street|"
    r"(?:user|driver|customer|owner|patient|employee|person|contact|holder|tenant|visitor)_{0,2}name|"
    r"social_?security|licen[cs]e_?plate|(?:^|_)(?:ssn|ip|imei|imsi|msisdn|vin)(?:_|$)"
)
# RE2 expressions of whole values. They only have to make a person look.
_VALUES: Final = (
    ("e-mail addresses", r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"),
    ("telephone numbers", r"^\+[1-9][0-9 ()/-]{6,20}[0-9]$"),
    ("bank accounts (IBAN)", r"^[A-Z]{2}[0-9]{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4}$"),
    ("addresses of machines (IPv4)", r"^(?:[0-9]{1,3}\.){3}[0-9]{1,3}$"),
    ("addresses of machines (MAC)", r"^(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"),
)
# A share of a field's values that look alike, below which they do so by chance.
_SHARE: Final = 0.5


def suspicious_name(name: str) -> bool:
    """Whether the name of a field suggests personal data."""
    return _NAMES.search(name.lower()) is not None


def suspicious_values(texts: Column) -> str | None:
    """What most of these texts (nulls left out) look like; None where that is nothing personal."""
    present: Any = texts.drop_null()
    for kind, expression in _VALUES:
        alike = pc.sum(pc.match_substring_regex(present, expression)).as_py() or 0
        if len(present) and alike / len(present) >= _SHARE:
            return kind
    return None


def suspicion(name: str, texts: Column) -> str | None:
    """Why a field may hold personal data, in a few words; None where nothing says so."""
    if looks := suspicious_values(texts):
        return f"its values look like {looks}"
    return "its name suggests it" if suspicious_name(name) else None
