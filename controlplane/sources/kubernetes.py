"""Kubernetes: the mesh in a ConfigMap, the instances in EndpointSlices, both listed and then watched."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import structlog

from controlplane.model import TRACKS, Track, with_weights
from controlplane.settings import Settings
from controlplane.state import State
from lensora.core.errors import FailedPrecondition, Unavailable

KEY = "mesh.yaml"
"""In the ConfigMap."""

_SERVICE_LABEL = "kubernetes.io/service-name"
_PAUSE_SECONDS = 1.0
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 30.0
"""Beyond the end of a watch, after which the connection is given up."""

_log = structlog.get_logger()

Objects = dict[str, dict[str, Any]]
"""By name."""


class KubernetesSource:
    """Asks with the ServiceAccount's token, which is read again each time because it is renewed."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state, self._settings = state, settings
        self._slices: Objects | None = None
        self._configured = False
        self._api: httpx.AsyncClient | None = None

    async def run(self) -> None:
        """See ``Source``."""
        name = self._settings.config_map
        config_maps, slices = f"{self._root('')}/configmaps", f"{self._root('discovery.k8s.io')}/endpointslices"
        async with self._client() as self._api:
            await asyncio.gather(
                self._follow(config_maps, {"fieldSelector": f"metadata.name={name}"}, self._configure),
                self._follow(slices, {"labelSelector": _SERVICE_LABEL}, self._place),
            )

    async def set_weights(self, service: str, weights: Mapping[str, int]) -> None:
        """See ``Source``."""
        if self._api is None:
            raise Unavailable("the control plane is starting", reason="MESH_NOT_READ")
        path = f"{self._root('')}/configmaps/{self._settings.config_map}"
        try:
            found = await self._get(path)
            text = with_weights(_text(found), service, weights)
            # the version makes it a conflict if somebody else was faster
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            headers = {"Content-Type": "application/merge-patch+json", **self._authorization()}
            patch = json.dumps({"metadata": version, "data": {KEY: text}})
            answer = await self._api.patch(path, content=patch, headers=headers)
            answer.raise_for_status()
        except (httpx.HTTPError, KeyError, ValueError, OSError) as error:
            raise FailedPrecondition(
                f"the ConfigMap {self._settings.config_map} cannot be changed: {error}", reason="MESH_READ_ONLY"
            ) from error

    def _configure(self, objects: Objects) -> None:
        found = objects.get(self._settings.config_map)
        text = _text(found) if found is not None else ""
        if not text:
            self._state.unreadable(f"there is no ConfigMap {self._settings.config_map} with the key {KEY}")
            return
        self._configured = True
        self._state.configure(text)
        self._publish()

    def _place(self, objects: Objects) -> None:
        self._slices = objects
        self._publish()

    def _publish(self) -> None:
        """Not before both were listed: a mesh without instances would be taken for their end."""
        if self._slices is None or not self._configured or self._state.mesh is None:
            return
        self._state.place(
            {
                (name, track): instances(service.track(track), self._slices)
                for name, service in self._state.mesh.services.items()
                for track in TRACKS
            }
        )

    async def _follow(self, path: str, query: dict[str, str], take: Callable[[Objects], None]) -> None:
        """List, then watch; whenever that ends, once more."""
        while True:
            try:
                listed = await self._get(path, query)
                objects = {item["metadata"]["name"]: item for item in listed.get("items") or ()}
                take(dict(objects))
                async for event in self._events(path, query, listed["metadata"]["resourceVersion"]):
                    if event["type"] == "ERROR":
                        break  # the version is too old to go on from
                    if event["type"] == "BOOKMARK":
                        continue
                    name = event["object"]["metadata"]["name"]
                    objects.pop(name, None)
                    if event["type"] != "DELETED":
                        objects[name] = event["object"]
                    take(dict(objects))
            except (httpx.HTTPError, KeyError, TypeError, ValueError, OSError) as error:
                _log.warning("kubernetes", path=path, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _events(self, path: str, query: dict[str, str], version: str) -> AsyncIterator[dict[str, Any]]:
        assert self._api is not None  # noqa: S101 - run() made it
        watch = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        silence = httpx.Timeout(10.0, read=_WATCH_SECONDS + _SILENCE_SECONDS)
        async with self._api.stream(
            "GET", path, params=query | watch, headers=self._authorization(), timeout=silence
        ) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield json.loads(line)

    async def _get(self, path: str, query: dict[str, str] | None = None) -> Any:
        assert self._api is not None  # noqa: S101 - run() made it
        answer = await self._api.get(path, params=query, headers=self._authorization())
        answer.raise_for_status()
        return answer.json()

    def _client(self) -> httpx.AsyncClient:
        authority = self._settings.service_account / "ca.crt"
        verify = ssl.create_default_context(cafile=str(authority)) if authority.exists() else True
        return httpx.AsyncClient(base_url=self._settings.api_url, verify=verify, trust_env=False, timeout=10.0)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self._settings.service_account / 'token').read_text().strip()}"}

    def _root(self, group: str) -> str:
        namespace = (self._settings.service_account / "namespace").read_text().strip()
        return f"/{f'apis/{group}' if group else 'api'}/v1/namespaces/{namespace}"


def instances(track: Track, slices: Objects) -> tuple[tuple[str, int], ...]:
    """Where a track's ready instances are, (IP address, port) each; those that are ending are not ready."""
    found: set[tuple[str, int]] = set()
    for one in slices.values():
        of = one["metadata"].get("labels", {}).get(_SERVICE_LABEL)
        if track.service is None or of != track.service or one["addressType"] == "FQDN":
            continue
        ports = [port["port"] for port in one.get("ports") or () if track.port in (None, port.get("name"))]
        for endpoint in one.get("endpoints") or ():
            if endpoint.get("conditions", {}).get("ready") is not False:
                found |= {(address, port) for address in endpoint["addresses"] for port in ports[:1]}
    return tuple(sorted(found))


def _text(config_map: dict[str, Any]) -> str:
    return str((config_map.get("data") or {}).get(KEY, ""))
