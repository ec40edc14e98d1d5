"""What a command talks to, and what this repository says about it.

Open to others:

    target            an environment: names, clients, catalog
    repository        the files that Terraform and the local stack share
    source_files      descriptions of devices, read and linted
    alarm_catalogue   the catalogue of alarms, read and checked
    audit             the trail of operations
    lake              the tables as their readers see them: DuckDB
    athena            queries in the workgroup of an environment
    fetched           the rows of a query, whoever gave them
    select_elsewhere  one SELECT in another engine's dialect, and nothing else
"""

__all__ = [
    "alarm_catalogue",
    "athena",
    "audit",
    "fetched",
    "lake",
    "repository",
    "select_elsewhere",
    "source_files",
    "target",
]
