"""The command line, the local stack and the event simulator."""
