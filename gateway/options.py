"""The rules of every field that callers fill in, once, for all edges."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lensora.core import links
from lensora.core.errors import FieldViolation, InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES

_INT64 = 2**63 - 1
_KEY_LENGTH = 255

_PROMPT = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
_URL = r"^https://([a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?\.){1,3}[a-z]{2,30}(/[!-~]*)?$"
"""What documents say of the rules below, which are the ones that hold: other links pass too."""


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def _printable(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError("must hold no control characters")
    if not text.strip():
        raise ValueError("must say something")
    return text


def _link(text: str) -> str:
    try:
        links.parse(text, "url")
    except InvalidArgument as error:
        raise ValueError(error.violations[0].description) from error
    return text


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _require_type(schema: dict[str, Any]) -> None:
    schema["required"] = ["type", *schema.get("required", ())]


class _Kind(_Options):
    """One of several; callers must say which, whereas code may leave it to the class."""

    model_config = ConfigDict(json_schema_extra=_require_type)


class TransparentBackground(_Kind):
    """No background: a neutral studio in the film."""

    type: Literal["transparent"] = "transparent"


class PromptBackground(_Kind):
    """A background in words."""

    type: Literal["prompt"] = "prompt"
    prompt: Annotated[
        str, Field(min_length=1, max_length=1000, json_schema_extra={"pattern": _PROMPT}), AfterValidator(_printable)
    ]


class UrlBackground(_Kind):
    """A picture that the background service fetches."""

    type: Literal["url"] = "url"
    url: Annotated[str, Field(max_length=links.MAX_LENGTH, json_schema_extra={"pattern": _URL}), AfterValidator(_link)]


class PictureBackground(_Kind):
    """A picture of the caller's own. Only its digest is kept here; its bytes are in the account's blob store."""

    type: Literal["picture"] = "picture"
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES)]


Background = TransparentBackground | PromptBackground | UrlBackground | PictureBackground

Side = Annotated[int, Field(ge=256, le=1920, json_schema_extra={"multipleOf": 2}), AfterValidator(_even)]
"""Width or height of a film, pixels."""


class Output(_Options):
    """Size and length of the film."""

    width: Side = 1280
    height: Side = 720
    duration_s: Annotated[float, Field(ge=1, le=12)] = 5.0


class SessionOptions(_Options):
    """Options of an upload."""

    max_objects: Annotated[int, Field(ge=2, le=8)] = 6


class JobOptions(_Options):
    """Options of a job."""

    session_id: Annotated[UUID, Field(strict=False)]
    object_index: Annotated[int, Field(ge=0)]
    background: Annotated[Background, Field(discriminator="type")]
    camera_preset: Literal["turntable", "dolly", "cinematic"]
    seed: Annotated[int, Field(ge=-_INT64 - 1, le=_INT64)] = 0
    on_slab: Literal["clamp", "fail"] = "clamp"
    output: Output = Output()
    webhook_url: (
        Annotated[str, Field(max_length=links.MAX_LENGTH, json_schema_extra={"pattern": _URL}), AfterValidator(_link)]
        | None
    ) = None


def checked_key(key: str) -> None:
    """Raise ``InvalidArgument`` for an idempotency key that is too long, or not plain text; empty is none at all."""
    if len(key) > _KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise InvalidArgument.of("idempotency_key", f"at most {_KEY_LENGTH} printable ASCII characters")


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], /, **values: Any) -> Model:
    """Build ``model``.

    Raises:
        InvalidArgument: names every field that breaks a rule, and the rule.
    """
    try:
        return model(**values)
    except ValidationError as error:
        violations = tuple(
            FieldViolation(".".join(_path(item["loc"])), item["msg"].removeprefix("Value error, "))
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )
        message = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgument(message, violations=violations) from None


def _path(location: tuple[int | str, ...]) -> list[str]:
    """The field's path as callers write it: without the name of the background's kind, which comes second."""
    return [str(part) for place, part in enumerate(location) if place != 1 or location[0] != "background"]
