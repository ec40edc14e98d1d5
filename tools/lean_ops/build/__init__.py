"""The archives and layers that Terraform deploys.

Open to others:

    building    all of them, with their hashes
    packaging   a function's code as a reproducible archive
"""

__all__ = [
    "building",
    "packaging",
]
