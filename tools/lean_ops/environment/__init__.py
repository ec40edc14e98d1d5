"""What a command talks to, and what this repository says about it.

Open to others:

    target            an environment: names, clients, catalog
    repository        the files that Terraform and the local stack share
    source_files      descriptions of devices, read and linted
    alarm_catalogue   the catalogue of alarms, read and checked
    audit             the trail of operations
    lake              the tables as their readers see them: DuckDB
    history_view      every version of every key, in SQL
"""

__all__ = [
    "alarm_catalogue",
    "audit",
    "history_view",
    "lake",
    "repository",
    "source_files",
    "target",
]
