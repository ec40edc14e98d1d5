"""The shared package of all Lambda functions, in rooms on floors: each uses those above it in this list.

    runtime    errors, settings, clients, logs        contract   what Semantic promises; typing rows
    intake     an event's way into RAW                layers     the jobs: RAW → Curated → Semantic
    payload    a payload becomes columns              readers    Snowflake, asked over its API
    lake       tables: read, merge, keep up

A room's ``__init__`` names the modules that others may import (docs/adr/0015); which room may use which is
a table in ``tests/conventions/test_rooms_lie_on_floors.py``.
"""
