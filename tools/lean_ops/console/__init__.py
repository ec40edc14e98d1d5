"""How commands speak to people and programs.

Open to others:

    printing   tables, sentences, progress, one JSON document
"""

__all__ = ["printing"]
