"""The use cases over HTTP: REST, server-sent events, signed downloads, OpenAPI."""

from gateway.edge.http.edge import Edge
from gateway.edge.http.server import HttpServer

__all__ = ["Edge", "HttpServer"]
