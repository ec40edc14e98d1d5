"""What ``make test-terraform`` takes and finds; ``--write`` keeps it in docs/benchmarks.md.

infra/with-provider .venv/bin/python tests/benchmarks/bench_terraform.py [--write]
"""

import sys

from page import write_section

from lean_ops.checks.terraform_check import check

if __name__ == "__main__":
    figures = check()
    print(*figures, sep="\n")
    if "--write" in sys.argv[1:]:
        text = "Proved without an account, against the provider's schema:\n\n" + "\n".join(
            f"- {' '.join(figure.split())}" for figure in figures
        )
        write_section("Terraform", "make test-terraform", text)
