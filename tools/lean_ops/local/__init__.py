"""The local stack: an AWS emulator and a Firehose stand-in, each a process of its own on loopback."""
