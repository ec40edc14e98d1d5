"""Keeps parts current for whoever looks, and for nobody else.

A part is read in a thread of its own when somebody asks for it and what is known is too old; who asks waits
a moment for what was never read, and else gets what is known. So the page comes at once, whatever is slow,
and a page that nobody has open asks AWS nothing.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from common.runtime import outside
from lean_ops.environment.target import Target
from lean_ops.sight.parts import Part, Seen, sentence

THREADS: Final = 6
_OTHERS: Final = 20
_REST: Final = 9
_PLACE_S: Final = 2.0
"""So long one answer to where the environment is counts: a local stack may be started anew, elsewhere."""


class Watch:
    """What is known of ``parts`` of the environment that ``find`` finds; to be closed."""

    def __init__(self, find: Callable[[], Target], parts: Sequence[Part]) -> None:
        self._find: Final = find
        self._seen: Final = {part.name: Seen(part) for part in parts}
        self._others: Final[list[str]] = []
        self._asked: Final[set[str]] = set()
        self._began: Final[dict[str, float]] = {}
        self._took: Final[dict[str, float]] = {}
        self._read_at: Final[dict[str, float]] = {}
        self._changed: Final = threading.Condition()
        self._threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="look")
        self._finding: Final = threading.Lock()
        self._target: Target | None = None
        self._found_at = 0.0
        self._closed = False

    def close(self) -> None:
        """Begin nothing more; what is being read ends by itself."""
        with self._changed:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def know(self, part: Part) -> str:
        """Take a part in that somebody asks for; gives its name. Of such parts the newest are kept."""
        with self._changed:
            if part.name not in self._seen:
                self._seen[part.name] = Seen(part)
                self._others.append(part.name)
            for name in [name for name in self._others[:-_OTHERS] if name not in self._asked]:
                self._others.remove(name)
                del self._seen[name]
        return part.name

    def ask(self, names: Iterable[str], *, patience_s: float, whole: bool = False) -> dict[str, Seen]:
        """What is known of these parts; waits so long at most for those of which nothing is.

        ``whole``: also for those of which only a beginning is known.
        """
        wanted = list(names)
        with self._changed:
            for name in wanted:
                self._refresh(name)
            self._changed.wait_for(
                lambda: all(self._settled(name, whole=whole) for name in wanted), patience_s
            )
            return {name: self._told(name) for name in wanted}

    def _settled(self, name: str, *, whole: bool) -> bool:
        seen = self._seen[name]
        return self._closed or name in self._read_at or (not whole and (seen.ready or bool(seen.trouble)))

    def _refresh(self, name: str) -> None:
        seen = self._seen[name]
        old = outside.monotonic() - self._read_at.get(name, float("-inf"))
        # What takes long, as with hundreds of topics, is asked less often: a tenth of the time at most.
        rest = max(seen.part.every_s, _REST * self._took.get(name, 0.0))
        if name in self._asked or self._closed or old < rest:
            return
        self._asked.add(name)
        self._threads.submit(self._read, name)

    def _told(self, name: str) -> Seen:
        seen = self._seen[name]
        began = self._began.get(name)
        if began is None or outside.monotonic() - began <= seen.part.within_s:
            return seen
        late = f"expected an answer within {seen.part.within_s:.0f} s, found none yet: it is still being read"
        return replace(seen, trouble=late)

    def _read(self, name: str) -> None:
        with self._changed:
            part = self._seen[name].part
            self._began[name] = outside.monotonic()

        def publish(value: Any) -> None:
            with self._changed:
                self._seen[name] = Seen(part, value, outside.now())
                self._changed.notify_all()

        try:
            target = self._place()
        except Exception as error:  # said in its place on the page
            self._end(name, str(error))
            return
        try:
            publish(part.read(target, publish))
        except Exception as error:  # likewise
            self._end(name, sentence(target, error))
        else:
            self._end(name, "")

    def _end(self, name: str, trouble: str) -> None:
        with self._changed:
            self._asked.discard(name)
            self._read_at[name] = outside.monotonic()
            self._took[name] = self._read_at[name] - self._began.pop(name)
            self._seen[name] = replace(self._seen[name], trouble=trouble)
            self._changed.notify_all()

    def _place(self) -> Target:
        with self._finding:
            if self._target is None or outside.monotonic() - self._found_at > _PLACE_S:
                found = self._find()
                # Its clients know the way; those of an equal one would be made anew.
                self._target = self._target if found == self._target else found
                self._found_at = outside.monotonic()
            return self._target
