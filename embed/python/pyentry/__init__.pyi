from typing import Any, Callable, Final, NamedTuple, Optional, TypeVar

_F = TypeVar("_F", bound=Callable[[], Any])

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

def after_restore(function: _F) -> _F: ...
def before_snapshot(function: _F) -> _F: ...
def checkpoint() -> None: ...
