"""What the contracts of a checkout would do to an environment, as its one comment on a pull request.

``python -m lean_ops.checks.contract_comment prod 12`` plans every contract that differs from the published
one on the rows that are there (``lean-ops contract plan``), and writes the comment, or writes over the one
that an earlier commit left. Exit code 1 where one cannot be read, breaks readers without a new major version,
or would lose more than may be lost without somebody who accepts it; reads, and changes nothing.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from common.contract.changes import review
from lean_ops.checks.plan_comment import LIMIT, publish
from lean_ops.environment.repository import contract_files
from lean_ops.environment.target import Target
from lean_ops.operate import contracts
from lean_ops.operate.plan_markdown import markdown, unreadable

_CUT: Final = "\n… cut here; `lean-ops contract plan` says all of it\n"


def planned(target: Target, texts: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """Markdown by topic of the contracts that are not in place as they are, and whether all may go there."""
    said, may_go = {}, True
    for topic, text in texts.items():
        if contracts.published_text(target, topic) == text:
            continue
        findings = review(text, topic)
        if any(finding.severity == "error" for finding in findings):
            said[topic], may_go = unreadable(topic, findings), False
            continue
        plan = contracts.plan_contract(target, topic, text)
        findings = contracts.compared(target, topic, text) + findings
        too_much = contracts.excess(plan)
        may_go &= not too_much and all(finding.severity != "error" for finding in findings)
        said[topic] = markdown(plan, findings, too_much)
    return said, may_go


def body(env: str, said: Mapping[str, str]) -> str:
    """The comment, cut where GitHub's limit is."""
    head = f"{marker(env)}\n### Contracts on the rows of `{env}`\n"
    text = head + ("\n".join(said.values()) or "Every contract is in place as it is.\n")
    return text if len(text) <= LIMIT else text[: LIMIT - len(_CUT)] + _CUT


def marker(env: str) -> str:
    """How the comment of an environment begins, by which it is found again."""
    return f"<!-- lean-ops contracts {env} -->"


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command: 0 when the comment stands, and the contracts may go in place."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        print("contract-comment: expected an environment and a pull request's number", file=sys.stderr)
        return 2
    env, pull_request = arguments
    texts = {topic: path.read_text() for topic, path in contract_files().items()}
    said, may_go = planned(Target.aws(env), texts)
    try:
        publish(marker(env), int(pull_request), body(env, said))
    except subprocess.CalledProcessError as error:
        print(f"contract-comment: gh: {error.stderr.strip()}", file=sys.stderr)
        return 1
    return 0 if may_go else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
