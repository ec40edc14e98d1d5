"""A service that never answers costs a call, not the function: the call gives up in time to say so."""

import json
import re
import socket
import threading

import pytest
from botocore.exceptions import ReadTimeoutError

from common.runtime import clients
from lean_ops.environment.repository import FUNCTION_CATALOGUE, LAMBDA_CODE

FUNCTIONS = json.loads(FUNCTION_CATALOGUE.read_text())["functions"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_longest_call_is_shorter_than_the_function(name: str) -> None:
    assert FUNCTIONS[name]["timeout_s"] > clients.LONGEST_CALL_S


def test_every_client_of_a_function_is_made_there() -> None:
    makers = {
        path.relative_to(LAMBDA_CODE).as_posix()
        for path in LAMBDA_CODE.rglob("*.py")
        if re.search(r"boto3\.(client|resource|Session)\(|load_catalog\(", path.read_text())
    }
    assert makers == {"common/runtime/clients.py"}


def test_a_silent_service_is_asked_as_often_as_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(clients, "READ_S", 0.05)
    calls: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            while True:
                try:
                    calls.append(silent.accept()[0])
                except OSError:
                    return

        listener = threading.Thread(target=accept)
        listener.start()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        firehose = clients.client("firehose", region_name="eu-west-1", endpoint_url=endpoint)
        with pytest.raises(ReadTimeoutError):
            firehose.list_delivery_streams()
        silent.shutdown(socket.SHUT_RDWR)
    listener.join()
    assert len(calls) == clients.ATTEMPTS
    for call in calls:
        call.close()
