"""The five services, each called as a stranger would call it, by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from lensora.background.v1 import background_pb2, background_pb2_grpc
from lensora.core.imaging import encode_png
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.mesh3d.v1 import mesh3d_pb2, mesh3d_pb2_grpc
from lensora.render.v1 import render_pb2, render_pb2_grpc
from lensora.segment.v1 import segment_pb2, segment_pb2_grpc
from lensora.type.v1 import blob_pb2, geometry_pb2, scene_pb2
from tests.fuzz import files
from tests.fuzz.harness import PATIENCE, STORE, Caller, fuzz
from tests.fuzz.strategies import mangled, prose, requests, spoilt_glb, text

pytestmark = pytest.mark.filterwarnings("default")  # as in production, where a warning is no error


def inline(data: bytes) -> blob_pb2.Blob:
    return blob_pb2.Blob(inline=data)


def vector(x: float, y: float, z: float) -> geometry_pb2.Vector3:
    return geometry_pb2.Vector3(x=x, y=y, z=z)


PHOTO, CUTOUT = encode_png(files.picture()), encode_png(files.cutout())
PHOTOS = mangled(files.photos())
TARGET = blob_pb2.BlobTarget(url=STORE.new_target())
SMALLEST = geometry_pb2.Size(width=256, height=256)

SCENE = scene_pb2.Scene(
    name="grey",
    plate=inline(files.PLATE),
    environment=inline(files.ENVIRONMENT),
    key_light=scene_pb2.KeyLight(
        direction=vector(0.0, 0.8, 0.6), irradiance=vector(2.0, 2.0, 2.0), angular_radius_degrees=6.0
    ),
    ground=scene_pb2.Ground(albedo=vector(0.5, 0.5, 0.5), roughness=0.3),
    camera=scene_pb2.Camera(position=vector(0.0, 0.35, 1.2), target=vector(0.0, 0.14, 0.0), vertical_fov_degrees=28),
    subject_height=0.3,
    subject_width=0.4,
    focus_distance=1.2,
    exposure=1.0,
)

DETECT = detect_pb2.DetectObjectsRequest(image=inline(files.photos()[0]), max_objects=4)
SEGMENT = segment_pb2.SegmentRequest(
    photo=inline(PHOTO), box=geometry_pb2.Box(x1=0.1, y1=0.1, x2=0.9, y2=0.9), keep_all_parts=True
)
PROMPT = background_pb2.BuildSceneRequest(
    backdrop=background_pb2.Backdrop(prompt="on a marble countertop"), size=SMALLEST, seed=1
)
OWN = background_pb2.BuildSceneRequest(
    backdrop=background_pb2.Backdrop(picture=inline(files.photos()[0])), size=SMALLEST
)
COMPOSE = background_pb2.ComposeRequest(cutout=inline(CUTOUT), scene=SCENE)
RECONSTRUCT = mesh3d_pb2.ReconstructRequest(cutout=inline(CUTOUT), seed=1, mesh_target=TARGET)
RENDER = render_pb2.RenderRequest(
    mesh=inline(files.pack_glb(*files.glbs()[0])),
    scene=SCENE,
    camera_preset=scene_pb2.CAMERA_PRESET_TURNTABLE,
    size=SMALLEST,
    duration_s=1.0,
)

METHODS: dict[type, tuple[Any, str]] = {
    detect_pb2.DetectObjectsRequest: (detect_pb2_grpc.DetectServiceStub, "DetectObjects"),
    segment_pb2.SegmentRequest: (segment_pb2_grpc.SegmentServiceStub, "Segment"),
    background_pb2.BuildSceneRequest: (background_pb2_grpc.BackgroundServiceStub, "BuildScene"),
    background_pb2.ComposeRequest: (background_pb2_grpc.BackgroundServiceStub, "Compose"),
    mesh3d_pb2.ReconstructRequest: (mesh3d_pb2_grpc.Mesh3dServiceStub, "Reconstruct"),
    render_pb2.RenderRequest: (render_pb2_grpc.RenderServiceStub, "Render"),
}


def ask(stages: Caller, request: Any, name: str) -> str:
    stub, method = METHODS[type(request)]
    return stages.ask(name, lambda: getattr(stub(stages.channel), method)(request, timeout=PATIENCE))


@pytest.mark.parametrize("whole", [DETECT, SEGMENT, PROMPT, OWN, COMPOSE, RECONSTRUCT, RENDER])
def test_what_is_spoilt_below_was_whole(stages: Caller, whole: Any) -> None:
    assert ask(stages, whole, "whole") == "OK"


@fuzz(100)
@given(PHOTOS)
def test_detect_uploads(stages: Caller, upload: bytes) -> None:
    sha256 = STORE.put("local", upload)
    blob = blob_pb2.Blob(url=STORE.url("local", sha256), sha256=sha256, size=len(upload))
    ask(stages, detect_pb2.DetectObjectsRequest(image=blob), "detect uploads")


@fuzz(60)
@given(requests(DETECT, image=PHOTOS))
def test_detect_requests(stages: Caller, request: detect_pb2.DetectObjectsRequest) -> None:
    ask(stages, request, "detect requests")


@fuzz(60)
@given(requests(SEGMENT, photo=mangled([PHOTO])))
def test_segment(stages: Caller, request: segment_pb2.SegmentRequest) -> None:
    ask(stages, request, "segment")


@fuzz(40)
@given(requests(PROMPT) | requests(OWN, backdrop__picture=PHOTOS))
def test_background_scenes(stages: Caller, request: background_pb2.BuildSceneRequest) -> None:
    ask(stages, request, "background scenes")


@fuzz(25)
@given(text(1200) | prose(1000))
def test_background_prompts(stages: Caller, prompt: str) -> None:
    request = background_pb2.BuildSceneRequest(backdrop=background_pb2.Backdrop(prompt=prompt), size=SMALLEST)
    ask(stages, request, "background prompts")


@fuzz(60)
@given(
    requests(
        COMPOSE,
        cutout=mangled([CUTOUT]),
        scene__plate=mangled([files.PLATE]),
        scene__environment=mangled([files.ENVIRONMENT]),
    )
)
def test_background_stills(stages: Caller, request: background_pb2.ComposeRequest) -> None:
    ask(stages, request, "background stills")


@fuzz(30)
@given(requests(RECONSTRUCT, cutout=mangled([CUTOUT])))
def test_mesh3d(stages: Caller, request: mesh3d_pb2.ReconstructRequest) -> None:
    ask(stages, request, "mesh3d")


GLBS = spoilt_glb(files.glbs(), files.pack_glb) | mangled([files.pack_glb(*glb) for glb in files.glbs()])


@fuzz(60)
@given(GLBS)
def test_render_meshes(stages: Caller, glb: bytes) -> None:
    request = render_pb2.RenderRequest()
    request.CopyFrom(RENDER)
    request.mesh.inline = glb
    ask(stages, request, "render meshes")


@fuzz(60)
@given(requests(RENDER, scene__plate=mangled([files.PLATE]), scene__environment=mangled([files.ENVIRONMENT])))
def test_render_requests(stages: Caller, request: render_pb2.RenderRequest) -> None:
    ask(stages, request, "render requests")
