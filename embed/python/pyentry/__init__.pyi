from typing import Final, NamedTuple, Optional

class Terminated(SystemExit):
    """A SIGTERM arrived."""

class _Limits(NamedTuple):
    cpus: int
    cpus_source: str
    memory: Optional[int]
    memory_source: Optional[str]

limits: Final[_Limits]
version: Final[str]
bundle: Final[str | None]
