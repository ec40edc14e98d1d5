"""Erasing the events of keys from everything that an environment has of them (docs/adr/0022).

selection    which keys are meant
values       what only the erased rows say, to be looked for afterwards
work         what an erasure has before it, so that a killed one ends as it began
erasing      place after place, repeatable at every step
letters      dead letters, their archive, delivery errors
objects      the bucket with all versions of its objects
terms        many texts looked for at once
search       every object and version looked into at the end
certificate  what was erased, where, and what the search saw
"""

from lean_ops.operate.erase.certificate import LATE, Certificate, as_document, find_certificate, verify
from lean_ops.operate.erase.erasing import Counted, Erasing, erased_before, foresee, unfinished
from lean_ops.operate.erase.objects import Objects
from lean_ops.operate.erase.selection import Selected, given_keys, keys_in, keys_where

__all__ = [
    "LATE",
    "Certificate",
    "Counted",
    "Erasing",
    "Objects",
    "Selected",
    "as_document",
    "erased_before",
    "find_certificate",
    "foresee",
    "given_keys",
    "keys_in",
    "keys_where",
    "unfinished",
    "verify",
]
