"""A stack that is taken away under a command ends it in a sentence, whatever it was about to ask."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from typer.testing import CliRunner

from lean_ops.cli import app
from lean_ops.commands import demo, up
from lean_ops.environment.target import TargetUnreachable
from lean_ops.local.target import LocalTarget


class Gone:
    """A stack that starts, and is gone at the first question."""

    crashed = False

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes what a stack takes."""

    def status(self) -> Any:
        return SimpleNamespace(up=True)

    def up(self) -> Any:
        return SimpleNamespace()


def unanswered(*_: Any, **__: Any) -> None:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("module", "asking"), [(demo, "provision"), (demo, "perform"), (up, "provision")], ids=str
)
def test_it_is_said_that_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, module: Any, asking: str, tmp_path: Any
) -> None:
    target = LocalTarget("local", region="eu-west-1", endpoints={"": "http://127.0.0.1:1"})
    monkeypatch.setattr(LocalTarget, "running", lambda *_: target)
    monkeypatch.setattr(module, "stack_folder", lambda _: tmp_path)
    monkeypatch.setattr(module, "Stack", Gone)
    monkeypatch.setattr(module, "provision", lambda *_, **__: None)
    monkeypatch.setattr(module, asking, unanswered)
    if module is demo:
        monkeypatch.setattr(module, "PeakMemory", lambda _: nullcontext())
    done = CliRunner().invoke(app, ["demo" if module is demo else "up"])
    assert isinstance(done.exception, TargetUnreachable), repr(done.exception)
    assert "lean-ops status" in str(done.exception)
