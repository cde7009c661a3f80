"""Being told that the machine will soon be taken away.

Lives here: `Ending`. Must not: signals, which `harness.run` listens to; saving.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import Stopped


class Ending:
    """Whether this attempt has to end soon, in order to go on later."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why, once it has."""
        self._deferred = False

    def ask(self, reason: str) -> None:
        """End: at once, by raising Stopped, unless somebody asked for time to save. Called by signal handlers."""
        self.reason = reason
        if not self._deferred:
            raise Stopped(reason)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within this block nothing is raised: whoever runs it looks at `reason` often, and saves."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
