"""The commands of ``lean-ops``, one module a group."""
