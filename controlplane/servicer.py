"""Administration: proto ⇄ state, and who may change what."""

from __future__ import annotations

from typing import Any

import grpc

from controlplane import wire
from controlplane.model import TRACKS
from controlplane.session import Session
from controlplane.sources import Source
from controlplane.state import State
from controlplane.wire import admin_pb2, admin_pb2_grpc
from lensora.core.errors import Unauthenticated
from lensora.runtime.mesh import OPERATOR, identity

Context = grpc.aio.ServicerContext[Any, Any]


class MeshServicer(admin_pb2_grpc.MeshServiceServicer):
    """See the proto."""

    def __init__(self, state: State, source: Source, *, tls: bool) -> None:
        """Without ``tls`` anybody who reaches the port may do everything: keep it on the loopback then."""
        self._state, self._source, self._tls = state, source, tls

    async def GetStatus(self, request: admin_pb2.GetStatusRequest, context: Context) -> admin_pb2.GetStatusResponse:
        """See the proto."""
        mesh = self._state.mesh
        return admin_pb2.GetStatusResponse(
            refused=self._state.refused,
            services=[self._service(name) for name in sorted(mesh.services)] if mesh else [],
            clients=[_client(session, peer) for session, peer in self._state.sessions.items()],
        )

    async def SetWeights(self, request: admin_pb2.SetWeightsRequest, context: Context) -> admin_pb2.SetWeightsResponse:
        """See the proto."""
        if self._tls and identity(OPERATOR).encode() not in context.auth_context().get(
            "x509_subject_alternative_name", ()
        ):
            raise Unauthenticated(
                f"weights are changed with the certificate of {identity(OPERATOR)}", reason="NOT_THE_OPERATOR"
            )
        await self._source.set_weights(request.service, dict(request.weights))
        return admin_pb2.SetWeightsResponse()

    def _service(self, name: str) -> admin_pb2.Service:
        assert self._state.mesh is not None  # noqa: S101 - the caller looked
        configured = self._state.mesh.services[name]
        tracks = []
        for track in TRACKS:
            load = self._state.loads.load(name, track)
            tracks.append(
                admin_pb2.Track(
                    name=track,
                    weight=configured.track(track).weight,
                    endpoints=[f"{host}:{port}" for host, port in self._state.places.get((name, track), ())],
                    issued=load.issued,
                    succeeded=load.succeeded,
                    failed=load.failed,
                    running=load.running,
                    dropped=load.dropped,
                    diverted=load.diverted,
                    avoided=load.avoided,
                )
            )
        return admin_pb2.Service(name=name, tracks=tracks)


def _client(session: Session, peer: str) -> admin_pb2.Client:
    subscriptions = [
        admin_pb2.Subscription(kind=kind, sent=one.sent or "", acknowledged=one.acknowledged, refused=one.refused)
        for kind, one in ((wire.KINDS[type_url], one) for type_url, one in session.subscriptions.items())
    ]
    return admin_pb2.Client(node=session.node, peer=peer, subscriptions=subscriptions)
