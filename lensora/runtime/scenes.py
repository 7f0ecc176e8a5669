"""Scenes on the wire: between ``type.v1.Scene`` and ``lensora.core.scene.Scene``; for background and render."""

from __future__ import annotations

from lensora.core.errors import InvalidArgument
from lensora.core.exr import decode_exr, encode_exr
from lensora.core.imaging import decode_png, encode_png
from lensora.core.scene import Camera, Ground, KeyLight, Scene, Vector
from lensora.runtime.convert import checked
from lensora.runtime.stage import Stage
from lensora.type.v1 import blob_pb2, geometry_pb2, scene_pb2


def scene_to_proto(
    scene: Scene, stage: Stage, plate_target: blob_pb2.BlobTarget, environment_target: blob_pb2.BlobTarget
) -> scene_pb2.Scene:
    """Encode the pictures and write them to their targets; blocks."""
    plate = stage.write(encode_png(scene.plate), "image/png", plate_target, "plate_target")
    environment = stage.write(encode_exr(scene.environment), "image/x-exr", environment_target, "environment_target")
    key, camera = scene.key_light, scene.camera
    return scene_pb2.Scene(
        name=scene.name,
        plate=plate,
        environment=environment,
        key_light=scene_pb2.KeyLight(
            direction=_vector(key.direction),
            irradiance=_vector(key.irradiance),
            angular_radius_degrees=key.angular_radius_degrees,
        ),
        ground=scene_pb2.Ground(albedo=_vector(scene.ground.albedo), roughness=scene.ground.roughness),
        camera=scene_pb2.Camera(
            position=_vector(camera.position),
            target=_vector(camera.target),
            vertical_fov_degrees=camera.vertical_fov_degrees,
        ),
        subject_height=scene.subject_height,
        subject_width=scene.subject_width,
        focus_distance=scene.focus_distance,
        exposure=scene.exposure,
    )


def scene_from_proto(scene: scene_pb2.Scene, stage: Stage, field: str) -> Scene:
    """Read and decode the pictures, and check every rule; blocks."""
    if scene.WhichOneof("backdrop") != "plate":
        raise InvalidArgument.of(f"{field}.backdrop", "required: a plate")
    plate = decode_png(stage.read(scene.plate, f"{field}.plate"), f"{field}.plate", channels=3)
    environment = decode_exr(stage.read(scene.environment, f"{field}.environment"), f"{field}.environment")
    key, ground, camera = scene.key_light, scene.ground, scene.camera
    return checked(
        field,
        lambda: Scene(
            name=scene.name,
            plate=plate,
            environment=environment,
            key_light=KeyLight(_tuple(key.direction), _tuple(key.irradiance), key.angular_radius_degrees),
            ground=Ground(_tuple(ground.albedo), ground.roughness),
            camera=Camera(_tuple(camera.position), _tuple(camera.target), camera.vertical_fov_degrees),
            subject_height=scene.subject_height,
            subject_width=scene.subject_width,
            focus_distance=scene.focus_distance,
            exposure=scene.exposure,
        ),
    )


def _vector(values: Vector) -> geometry_pb2.Vector3:
    return geometry_pb2.Vector3(x=values[0], y=values[1], z=values[2])


def _tuple(vector: geometry_pb2.Vector3) -> Vector:
    return vector.x, vector.y, vector.z
