"""What every route needs, in one place."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.edge.once import Once
from gateway.health import Health
from gateway.jobs import Studio
from gateway.settings import Settings
from gateway.signing import Signer

_HOST = re.compile(r"[A-Za-z0-9.-]{1,255}(:\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Edge:
    """The use cases, and what the HTTP edge adds to them."""

    settings: Settings
    studio: Studio
    signer: Signer
    health: Health
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process stops: watchers are asked to come back elsewhere."""
    endings: Once[str] = field(default_factory=Once)
    """Jobs that have ended, as JSON, for all who watched them."""

    def base(self, request: Request) -> str:
        """``https://host`` for addresses in answers: the deployment's own, else what the caller called us."""
        host = request.headers.get("host", "")
        if self.settings.public_url or not _HOST.fullmatch(host):
            return self.signer.base
        return f"{request.scope['scheme']}://{host}"


def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


_bearer = HTTPBearer(auto_error=False, description="An API key: `lsk_…`")

TheEdge = Annotated[Edge, Depends(_edge)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _caller(edge: TheEdge, bearer: Bearer) -> str:
    return await edge.studio.authenticate(bearer.credentials if bearer else "")


Caller = Annotated[str, Depends(_caller)]
"""The account that calls."""
