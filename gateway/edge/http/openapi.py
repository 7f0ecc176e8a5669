"""What OpenAPI says beyond what FastAPI finds out, and the page that shows it without loading anything."""

from __future__ import annotations

import html
import json
import warnings
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic.json_schema import models_json_schema

from gateway.edge.http.problems import MEDIA_TYPE
from gateway.edge.http.schemas import Problem, TransformRequest

_REFERENCE = "#/components/schemas/{model}"
_EXTRA_SCHEMAS: list[Any] = [(TransformRequest, "validation"), (Problem, "serialization")]

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "additionalProperties": False,
                    "properties": {
                        "image": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "JPEG, PNG or WebP; at most 20 MB and 50 megapixels.",
                        },
                        "max_objects": {
                            "type": "integer",
                            "minimum": 2,
                            "maximum": 8,
                            "default": 6,
                            "description": "Foreground proposals; `full_frame` comes on top.",
                        },
                    },
                },
                "example": {"image": "(the bytes of photo.jpg)", "max_objects": 6},
            }
        },
    }
}
"""The body of init."""

JSON: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="TransformRequest")}}},
    }
}
"""The body of transform."""

_WAIT = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in (
        ("Retry-After", "Seconds to wait."),
        ("X-RateLimit-Remaining", "Calls that may follow at once."),
        ("X-RateLimit-Reset", "Seconds until the whole burst may."),
    )
}


def problems_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of an operation that can fail in these ways."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        | ({"headers": _WAIT} if status == HTTPStatus.TOO_MANY_REQUESTS else {})
        for status in statuses
    }


def describe(app: FastAPI) -> None:
    """Make the document, and serve it at ``/openapi.json`` and as a page at ``/docs``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate Operation ID")  # a route of two methods; see below
        document = app.openapi()
    for methods in document["paths"].values():
        if "head" in methods:
            methods["head"]["operationId"] += "_head"
    schemas = document["components"]["schemas"]
    schemas |= models_json_schema(_EXTRA_SCHEMAS, ref_template=_REFERENCE)[1]["$defs"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    app.state.document = document
    app.include_router(_pages)


_pages = APIRouter(include_in_schema=False)


@_pages.get("/openapi.json")
async def _document(request: Request) -> Response:
    return Response(json.dumps(request.app.state.document), media_type="application/json")


@_pages.get("/docs")
async def _page(request: Request) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(page(request.app.state.document), headers=headers, media_type="text/html")


_STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 16%,transparent)}
body{font:16px/1.55 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{margin:0 0 .25rem}h2{font-size:1.05rem;margin:2.5rem 0 0;text-transform:capitalize;opacity:.7}
details{border:1px solid var(--line);border-radius:.6rem;margin:.6rem 0;overflow:hidden}
summary{cursor:pointer;padding:.65rem .9rem;display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}
summary:hover{background:color-mix(in srgb,currentColor 5%,transparent)}
summary b{font:600 .8rem ui-monospace,monospace;min-width:3.2rem}
.get b,.head b{color:#2374d8}.post b{color:#218a4c}.delete b{color:#c23b3b}
summary code{font-weight:600}summary span{opacity:.75}
.in{padding:.2rem .9rem 1rem;border-top:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-size:.92rem}
td{padding:.3rem .8rem .3rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
h3{font-size:.85rem;margin:1.1rem 0 .3rem;opacity:.7}
pre,code{font:.86rem/1.5 ui-monospace,monospace}
pre{background:color-mix(in srgb,currentColor 6%,transparent);padding:.8rem;border-radius:.5rem;overflow:auto}
"""


def page(document: dict[str, Any]) -> str:
    """The document as one HTML page of its own: no script, no font, nothing from other hosts."""
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            sections.setdefault(operation["tags"][0], []).append(_operation(document, path, method, operation))
    body = "".join(f"<h2>{_text(tag)}</h2>{''.join(items)}" for tag, items in sections.items())
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{_text(info['title'])}</h1><p>{_text(info['description'])}</p>"
        f'<p><a href="openapi.json">openapi.json</a></p>{body}</html>'
    )


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    first, _, more = operation["description"].partition(". ")
    parts = [f"<p>{_text(more)}</p>"] if more else []
    if operation.get("security"):
        parts.append("<p>Needs <code>Authorization: Bearer lsk_…</code>.</p>")
    if rows := [_parameter(item) for item in operation.get("parameters", ())]:
        parts.append(f"<h3>Parameters</h3><table>{''.join(rows)}</table>")
    if "requestBody" in operation:
        parts.append(_content(document, "Body", operation["requestBody"]))
    parts += [
        _content(document, f"{status} {answer['description']}", answer)
        for status, answer in operation["responses"].items()
        if status.startswith("2")
    ]
    errors = [status for status in operation["responses"] if not status.startswith("2")]
    if errors:
        parts.append(f"<h3>Errors</h3><p>{', '.join(errors)}</p>")
    head = f"<b>{method.upper()}</b><code>{_text(path)}</code><span>{_text(first)}</span>"
    return f'<details class="{method}"><summary>{head}</summary><div class="in">{"".join(parts)}</div></details>'


def _parameter(item: dict[str, Any]) -> str:
    needed = "required" if item.get("required") else "optional"
    name = f"<td><code>{_text(item['name'])}</code></td><td>{_text(item['in'])}, {needed}</td>"
    return f"<tr>{name}<td>{_text(item.get('description', ''))}</td></tr>"


def _content(document: dict[str, Any], title: str, holder: dict[str, Any]) -> str:
    shown = [f"<h3>{_text(title)}</h3>"]
    for media_type, content in holder.get("content", {}).items():
        shown.append(f"<p><code>{_text(media_type)}</code></p>")
        example = content.get("example") or _example(document, content.get("schema", {}))
        if example is not None:
            shown.append(f"<pre>{_text(json.dumps(example, indent=2, ensure_ascii=False))}</pre>")
    return "".join(shown)


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    return next(iter(document["components"]["schemas"].get(name, {}).get("examples", ())), None)


def _text(value: str) -> str:
    return html.escape(value)
