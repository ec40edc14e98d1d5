"""Aliases that multiply, nesting without end, endless texts: one sentence, in little memory."""

import tracemalloc

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract.contracts import lint
from common.contract.yaml_bounds import MAX_CHARACTERS, MAX_DEPTH, check_bounds
from common.runtime.errors import ContractError
from lean_ops.environment.repository import contract_files


def laughs(levels: int, each: int) -> str:
    lines = ["a0: &a0 [" + ", ".join(["lol"] * each) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * each) + "]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "aliases of lists": laughs(9, 9),
    "aliases of mappings": "\n".join(
        ["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 40))]
    ),
    "merge keys": "\n".join(
        [
            "a0: &a0 {k: v}",
            *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], b: *a{n - 1}}}" for n in range(1, 40)),
        ]
    ),
    "aliases of a long text": f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1_000)}]",
    "an alias of itself": "a: &a [*a]",
    "nested lists": "a: " + "[" * 100_000,
    "nested mappings": "a: " + "{a: " * 50_000,
    "nested blocks": "\n".join(" " * n + "a:" for n in range(1_000)),
    "nested dashes": "- " * 20_000 + "a",
    "a long text": "a: " + "x" * (MAX_CHARACTERS + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_in_one_sentence_and_little_memory(name: str) -> None:
    tracemalloc.start()
    (finding,) = lint(HOSTILE[name], "events")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert finding.severity == "error"
    assert "expected" in finding.message
    assert len(finding.message) < 300
    assert peak < 50_000_000


def test_our_own_contracts_and_modest_aliases_are_within_bounds() -> None:
    for path in contract_files().values():
        check_bounds(path.read_text())
    check_bounds("a: &a {k: v}\nb: [*a, *a]\nc: {<<: *a, d: *a}")
    check_bounds("a: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2))


trees = st.recursive(
    st.text("xyz", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=4),
    max_leaves=30,
)


@settings(deadline=None)
@given(trees)
def test_a_document_without_aliases_is_as_large_as_it_looks(tree: object) -> None:
    check_bounds(yaml.safe_dump(tree))


@settings(deadline=None)
@given(st.text(max_size=200) | st.text("[]{}:&*a -\n!<,?|>%@'\"", max_size=60))
def test_any_text_is_bounded_refused_or_left_to_the_reader(text: str) -> None:
    try:
        check_bounds(text)
    except (ContractError, yaml.YAMLError):
        return
