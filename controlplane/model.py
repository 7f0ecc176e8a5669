"""The mesh as an operator writes it, and its rules; a text that breaks one is refused whole."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lensora.core.errors import InvalidArgument, NotFound
from lensora.runtime.mesh import Policy

TRACKS = ("stable", "canary")

_MAX_CHARACTERS = 262_144
_ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})")
_POLICY = Policy()

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Seconds = Annotated[float, Field(ge=0.001, le=86_400)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Track(_Model):
    """One version of a service: where it runs and what share of the calls it takes."""

    weight: int = Field(ge=0, le=100)
    """Percent."""

    endpoints: tuple[str, ...] = Field(default=(), max_length=1000)
    """``host:port`` each; names are looked up again and again."""

    service: Name | None = None
    """A Kubernetes Service whose EndpointSlices say where it runs, in place of ``endpoints``."""

    port: str | None = None
    """Name of the port in these slices; without it the only one."""

    @model_validator(mode="after")
    def _one_source(self) -> Track:
        if self.endpoints and self.service:
            raise ValueError("give endpoints or a Kubernetes service, not both")
        for endpoint in self.endpoints:
            address(endpoint)
        return self


class Retry(_Model):
    """Another attempt for a call that no instance has begun to answer: see ``lensora.runtime.mesh.RETRIED``."""

    attempts: int = Field(default=_POLICY.attempts, ge=1, le=5)
    """Including the first."""

    backoff_s: Seconds = _POLICY.backoff_s
    max_backoff_s: Seconds = _POLICY.max_backoff_s


class Outliers(_Model):
    """When an instance is left out for a while, as seen by each client for itself.

    Every status but OK counts as a failure, also one that the request is to blame for: a low ``failure_percent``
    would let one caller's bad photos take instances out.
    """

    failure_percent: int = Field(default=40, ge=1, le=100)
    """An instance with a larger share of failures within ``interval_s`` is ejected."""

    interval_s: Seconds = 2.0
    ejection_s: Seconds = 30.0
    """For how long; the second time in a row twice as long, and so on to five minutes."""

    min_requests: int = Field(default=10, ge=1)
    """Fewer calls within ``interval_s`` are not judged."""


class Service(_Model):
    """One service of the mesh."""

    stable: Track
    canary: Track = Track(weight=0)
    timeout_s: Seconds = _POLICY.timeout_s
    """No call is longer, whatever its own deadline."""

    retry: Retry = Retry()
    outliers: Outliers | None = Outliers()
    max_requests: int = Field(default=1000, ge=1)
    """Calls at a time of one client to one track; more are refused at once with UNAVAILABLE."""

    @model_validator(mode="after")
    def _whole(self) -> Service:
        if self.stable.weight + self.canary.weight != 100:
            raise ValueError(f"weights add up to {self.stable.weight + self.canary.weight}, not 100")
        both = set(self.stable.endpoints) & set(self.canary.endpoints)
        if both or (self.stable.service is not None and self.stable.service == self.canary.service):
            raise ValueError(f"{min(both, default=self.stable.service)} is in both tracks")
        return self

    def track(self, name: str) -> Track:
        """One of ``TRACKS``."""
        return self.canary if name == "canary" else self.stable


class Mesh(_Model):
    """The whole mesh."""

    version: Literal[1] = 1
    tls: bool = False
    """Whether clients use TLS, show their certificates, and ask for those of the services."""

    services: dict[Name, Service] = Field(min_length=1, max_length=200)


def parse(text: str) -> Mesh:
    """The mesh in a YAML (1.2) text.

    Raises:
        InvalidArgument: reason ``MESH_INVALID``; the text breaks a rule, which is named with where.
    """
    if len(text) > _MAX_CHARACTERS:
        raise _invalid(f"more than {_MAX_CHARACTERS} characters")
    try:
        return Mesh.model_validate(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, RecursionError, ValueError) as error:
        raise _invalid(_first_line(error)) from error


def with_weights(text: str, service: str, weights: Mapping[str, int]) -> str:
    """The same text, comments and all, with other weights.

    Raises:
        NotFound: no such service.
        InvalidArgument: not both tracks, or not 100 in all.
    """
    mesh = parse(text)
    if service not in mesh.services:
        raise NotFound(f"no service {service!r}; there are {', '.join(sorted(mesh.services))}")
    if set(weights) != set(TRACKS):
        raise InvalidArgument.of("weights", "one for stable and one for canary")
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    document: Any = yaml.load(text)
    for track, weight in weights.items():
        document["services"][service].setdefault(track, {})["weight"] = weight
    out = io.StringIO()
    yaml.dump(document, out)
    parse(out.getvalue())
    return out.getvalue()


def address(endpoint: str) -> tuple[str, int]:
    """Host and port of ``host:port``.

    Raises:
        ValueError: it is not one.
    """
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise ValueError(f"{endpoint[:80]!r} is not host:port")
    return found["host"].strip("[]"), int(found["port"])


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the mesh'}: {first['msg']}"
    return " ".join(str(error).split())[:300]


def _invalid(why: str) -> InvalidArgument:
    return InvalidArgument(f"this mesh configuration is refused whole: {why}", reason="MESH_INVALID")
