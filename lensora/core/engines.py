"""What an engine is, and how a service finds the one its settings name.

An engine lives in ``services/<service>/engines/<name>.py``; the file's name is the engine's name. The module
offers ``create(settings) -> Engine``. Creating is the expensive part (models, GL contexts) and happens once, in
the process that will run it.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from lensora.core.errors import LensoraError

Request_contra = TypeVar("Request_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")


class EngineNotFound(LensoraError):
    """The settings name an engine that has no file."""

    default_reason = "ENGINE_NOT_FOUND"


class Context(Protocol):
    """What a running engine may ask of its surroundings."""

    def progress(self, fraction: float, phase: str = "") -> None:
        """Report ``fraction`` of the work done, in [0, 1]; ``phase`` is a short machine name of what runs now.

        Also performs ``check()``.
        """

    def check(self) -> None:
        """Raise ``Cancelled`` or ``DeadlineExceeded`` if the work is no longer wanted.

        Call it at least every 200 ms of work.
        """


class NullContext:
    """A context that wants the work to the end; for tests and benchmarks."""

    def progress(self, fraction: float, phase: str = "") -> None:
        """Ignore the report."""

    def check(self) -> None:
        """Never object."""


class Engine(Protocol[Request_contra, Result_co]):
    """``run(request, context) -> result``: pure but for what it tells the context."""

    name: str
    """The engine's file name, e.g. ``embedded``."""

    version: str
    """Changes whenever the same input may give another output."""

    def run(self, request: Request_contra, context: Context) -> Result_co:
        """Do the work; raise ``LensoraError`` for anything the caller can understand."""


@dataclass(frozen=True, slots=True)
class Made(Generic[Result]):
    """What ``run`` may return instead of the bare result: it names its maker, where that is not simply the engine."""

    result: Result
    name: str
    """Of the engine that made it."""

    version: str
    """Of that engine, with the versions of the models that it asked."""

    instead_of: str = ""
    """The engine that should have made it and could not; empty where nobody stood in."""

    reason: str = ""
    """Why it could not, e.g. ``MODEL_CRASHED``."""


@runtime_checkable
class Checked(Protocol):
    """An engine that stands on something which it may lose while it runs."""

    def check(self) -> None:
        """Raise ``LensoraError`` for what it cannot work without just now; may block for a second."""


def fingerprint(service: str, engine: Engine[Any, Any]) -> str:
    """``service/name@version``: names what made a result, so that caches never mix engines."""
    return f"{service}/{engine.name}@{engine.version}"


def available(package: str) -> list[str]:
    """Names of the engines in ``package`` (e.g. ``services.detect.engines``), without importing them."""
    paths = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))


def load(package: str, name: str, settings: Any) -> Engine[Any, Any]:
    """Import engine ``name`` of ``package`` and create it with the service's settings.

    Raises:
        EngineNotFound: there is no such file; the message lists those there are.
    """
    names = available(package)
    if name not in names:
        raise EngineNotFound(f"no engine {name!r} in {package}; there are: {', '.join(names)}")
    engine: Engine[Any, Any] = importlib.import_module(f"{package}.{name}").create(settings)
    return engine
