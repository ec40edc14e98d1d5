"""Faults for the sequences to find."""
