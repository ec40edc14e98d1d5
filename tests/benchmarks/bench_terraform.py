"""What ``make test-terraform`` takes and finds, and plans of many topics; ``--write`` keeps it in the page.

infra/with-provider .venv/bin/python tests/benchmarks/bench_terraform.py [--write] [--topics-only]
"""

import sys

from page import write_section

from lean_ops.checks.many_topics import added, plan_of
from lean_ops.checks.terraform_check import check

COUNTS = (2, 100, 700)


def topics() -> list[str]:
    plans = [plan_of(count) for count in COUNTS]
    lines = [
        "| topics | resources | seconds | of them CPU | peak memory, MiB |",
        "|---|---|---|---|---|",
        *(
            f"| {one.topics} | {len(one.plan.resources):,} | {one.seconds:.0f} | {one.cpu_s:.0f} "
            f"| {one.peak_mib:,.0f} |"
            for one in plans
        ),
    ]
    each = added(plans[0], plans[-1])
    kinds = ", ".join(f"{count:g} {kind}" for kind, count in each.items())
    return [*lines, "", f"A topic with a contract adds {sum(each.values()):g} resources: {kinds}."]


if __name__ == "__main__":
    many = topics()
    print(*many, sep="\n")
    if "--write" in sys.argv[1:]:
        write_section(
            "Plans of many topics",
            "bench_terraform.py --topics-only",
            "Through the mocked provider. With a schedule, a role and nine alarms a topic, 2 topics had\n"
            "219 resources, 25 took 16.5 s, 50 took 50 s, and 100 (3,257) were not done after 170 s.\n\n"
            + "\n".join(many),
        )
    if "--topics-only" not in sys.argv[1:]:
        figures = check()
        print(*figures, sep="\n")
        if "--write" in sys.argv[1:]:
            text = "Proved without an account, against the provider's schema:\n\n" + "\n".join(
                f"- {' '.join(figure.split())}" for figure in figures
            )
            write_section("Terraform", "make test-terraform", text)
