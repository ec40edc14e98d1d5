"""Codecs whose libraries are loaded by those who use them: CBOR, Protobuf, CSV."""
