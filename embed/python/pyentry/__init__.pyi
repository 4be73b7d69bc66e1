from typing import Final

class Terminated(SystemExit):
    """A SIGTERM arrived."""

version: Final[str]
