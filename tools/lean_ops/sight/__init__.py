"""The pipeline to be looked at: one page on this machine, and the same as one file.

Open to others:

    serving    the page, served on loopback to whoever has its address
    report     the page as one file, without script and network
    pages      what is looked at, and its views

Inside: ``parts`` (what is looked at, each part with its own time), ``watching`` (keeps parts current), a
module for what each view shows (``flow``, ``runs``, ``waiting``, ``drift``, ``shape``, ``proof``, ``money``,
``findings``) and ``drawing`` (charts). Nothing here changes anything: the page shows
commands to copy (docs/adr/0026). What they say is computed where the commands compute it.
"""

__all__ = ["pages", "report", "serving"]
