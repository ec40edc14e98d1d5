"""A contract is put over the one that it was compared with alone; a try whose answer was lost counts."""

from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.contract.store import contract_key, placed_contract, put_contract


class Bucket:
    """Objects by key; a conditional put is refused as S3 refuses it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.loses_answer_of = ""

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": BytesIO(self.objects[Key]), "ETag": self.tag(Key)}

    def tag(self, key: str) -> str:
        return f'"{hash(self.objects[key])}"' if key in self.objects else ""

    def put_object(
        self, Bucket: str, Key: str, Body: bytes, IfMatch: str = "", IfNoneMatch: str = ""
    ) -> None:
        tries = 2 if Key == self.loses_answer_of else 1  # the SDK tries again by itself
        for _ in range(tries):
            if (IfMatch and IfMatch != self.tag(Key)) or (IfNoneMatch and Key in self.objects):
                raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
            self.objects[Key] = Body


@pytest.mark.parametrize("before", ["", "old"])
@pytest.mark.parametrize("lost", [False, True])
def test_it_is_put_over_what_it_was_compared_with(before: str, lost: bool) -> None:
    s3: Any = Bucket()
    if before:
        put_contract(s3, "lake", "t", "1.0.0", before)
    _, tag = placed_contract(s3, "lake", "t")
    s3.loses_answer_of = contract_key("t") if lost else ""
    assert put_contract(s3, "lake", "t", "1.1.0", "new", over=tag)
    assert placed_contract(s3, "lake", "t")[0] == "new"


@pytest.mark.parametrize("before", ["", "old"])
def test_another_that_came_meanwhile_stays(before: str) -> None:
    s3: Any = Bucket()
    if before:
        put_contract(s3, "lake", "t", "1.0.0", before)
    _, tag = placed_contract(s3, "lake", "t")
    put_contract(s3, "lake", "t", "2.0.0", "another")
    assert not put_contract(s3, "lake", "t", "1.1.0", "new", over=tag)
    assert placed_contract(s3, "lake", "t")[0] == "another"
