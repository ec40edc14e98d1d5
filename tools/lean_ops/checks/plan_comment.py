"""A Terraform plan as the one comment of its environment on a pull request.

``python -m lean_ops.checks.plan_comment prod 12 plan.txt`` writes the comment, or writes over the one that an
earlier commit left, through GitHub's command line (``gh``, with ``GH_TOKEN``), run inside the repository.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

# GitHub refuses a comment of more than 65,536 characters.
LIMIT: Final = 65_000

_SUMMARY = re.compile(r"^(Plan: .*|No changes\..*)$", re.MULTILINE)


def body(env: str, plan: str) -> str:
    """The comment: what changes in one line, the whole plan folded away, cut where GitHub's limit is."""
    found = _SUMMARY.search(plan)
    head = f"{_marker(env)}\n### Plan for `{env}`\n{found[0] if found else 'Output values only.'}\n"
    # A fence longer than any in the plan, so that no value can end it.
    fence = "`" * (max((len(run) for run in re.findall(r"`+", plan)), default=2) + 1)
    frame = f"\n<details><summary>The whole plan</summary>\n\n{fence}\n%s\n{fence}\n</details>\n"
    room = LIMIT - len(head) - len(frame)
    shown = plan if len(plan) <= room else plan[: room - 60] + "\n… cut here; the job's log has all of it"
    return head + frame.replace("%s", shown.rstrip())


def _marker(env: str) -> str:
    return f"<!-- lean-ops plan {env} -->"


def publish(marker: str, pull_request: int, text: str) -> None:
    """Make ``text`` the comment that begins with ``marker``; raises CalledProcessError with what it said."""
    comments = f"repos/{{owner}}/{{repo}}/issues/{pull_request}/comments"
    known = [c for c in _gh(f"{comments}?per_page=100", paginate=True) if c["body"].startswith(marker)]
    if known:
        _gh(f"repos/{{owner}}/{{repo}}/issues/comments/{known[-1]['id']}", method="PATCH", text=text)
    else:
        _gh(comments, method="POST", text=text)


def _gh(path: str, *, method: str = "GET", text: str | None = None, paginate: bool = False) -> Any:
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["gh", "api", path, "--method", method]
        + (["--paginate"] if paginate else [])
        + (["--input", "-"] if text is not None else []),
        input=None if text is None else json.dumps({"body": text}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command: 0 when the comment stands."""
    if len(arguments) != 3 or not arguments[1].isdigit():
        print("plan-comment: expected an environment, a pull request's number and a file", file=sys.stderr)
        return 2
    env, pull_request, path = arguments
    try:
        publish(_marker(env), int(pull_request), body(env, Path(path).read_text()))
    except subprocess.CalledProcessError as error:
        print(f"plan-comment: gh: {error.stderr.strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
