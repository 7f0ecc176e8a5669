"""Where a heavy model's weights are, and in which precision they are used.

The parameter ``weights`` of a model's config is one of

- a name, such as ``birefnet``: the folder that ``lensora models fetch birefnet`` fills;
- an absolute path of a folder of the same make;
- ``hub:OWNER/NAME@REVISION``: fetched by ``huggingface_hub`` at load, into its own cache.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensora.core import models, weights
from lensora.core.errors import FailedPrecondition, LensoraError, Unavailable
from lensora.core.models import ModelMissing
from lensora.serving.setup import Setup

if TYPE_CHECKING:
    import torch

HUB = "hub:"

INSTALLED = "installed"
"""As the parameter ``code``: Python finds the model's code by itself."""


def locate(setup: Setup, parameter: str = "weights") -> Path:
    """The folder with the weights.

    Raises:
        ModelMissing: it is not there, or not fetched to its end; the message says how to get it.
        Unavailable: the hub that the parameter names does not give them.
    """
    chosen = setup.text(parameter)
    if chosen.startswith(HUB):
        return _from_hub(setup, chosen.removeprefix(HUB))
    found = Path(chosen).expanduser()
    if found.is_absolute():
        if not found.is_dir():
            raise ModelMissing(f"{setup.name}: there is no folder {found}, which its parameter {parameter} names")
        return found
    found = weights.folder(chosen)
    if weights.status(chosen) != "present":
        raise ModelMissing(f"{setup.name}: its weights are not at {found}; fetch them with: {models.REMEDY} {chosen}")
    return found


def _from_hub(setup: Setup, chosen: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = chosen.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None))
    except Exception as error:
        raise Unavailable(
            f"{setup.name}: the hub did not give {chosen} ({type(error).__name__}); put the weights into a folder "
            f"with: {models.REMEDY}",
            reason="MODEL_FETCH_FAILED",
        ) from error


def precision(setup: Setup) -> torch.dtype:
    """The parameter ``precision``: ``bfloat16`` or ``float16`` on a GPU, ``float32`` on the CPU.

    Raises:
        FailedPrecondition: it is none of the three.
    """
    import torch

    named = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    chosen = setup.text("precision")
    if chosen not in named:
        raise FailedPrecondition(
            f"{setup.name}: the parameter precision is one of {', '.join(named)}, not {chosen!r}",
            reason="MODEL_PARAMETER",
        )
    return named[chosen]


def require_memory(setup: Setup) -> None:
    """Refuse to load where the GPU has less free memory than the model is known to need.

    Raises:
        FailedPrecondition: reason ``GPU_MEMORY``, with both figures.
    """
    needed = setup.number("memory_gib")
    if setup.device == "cpu":
        return
    import torch

    free = torch.cuda.mem_get_info(setup.device)[0] / 2**30
    if free < needed:
        raise FailedPrecondition(
            f"{setup.name} needs {needed} GiB of GPU memory and {free:.1f} GiB are free: unload another model, or "
            "choose another GPU",
            reason="GPU_MEMORY",
        )


def _reach_code(setup: Setup) -> None:
    """Let Python find the code of a model that is in no package index: the parameter ``code`` names its folder.

    Raises:
        FailedPrecondition: there is no such folder.
    """
    chosen = setup.parameters.get("code", INSTALLED)
    if chosen == INSTALLED or chosen in sys.path:
        return
    if not Path(chosen).is_dir():
        raise FailedPrecondition(
            f"{setup.name}: there is no folder {chosen}, which its parameter code names", reason="MODEL_PARAMETER"
        )
    sys.path.append(chosen)


def load(setup: Setup, loader: Any, **more: Any) -> Any:
    """``loader(folder, **more)``, what it raises turned into one line for who loads the model.

    Raises:
        ModelMissing, FailedPrecondition: as ``locate`` and ``require_memory``.
        FailedPrecondition: reason ``MODEL_UNREADABLE``: the folder does not hold what the loader reads, or a package
            that reads it is not installed.
    """
    found = locate(setup)
    require_memory(setup)
    _reach_code(setup)
    try:
        return loader(found, **more)
    except LensoraError:
        raise
    except ImportError as error:
        raise FailedPrecondition(
            f"{setup.name}: the Python package {error.name or error} is not to be had here; docs/models.md says how",
            reason="MODEL_PACKAGE_MISSING",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise FailedPrecondition(
            f"{setup.name}: {found} does not hold weights that this model reads ({type(error).__name__}); fetch them "
            f"anew, or name another folder",
            reason="MODEL_UNREADABLE",
        ) from error
