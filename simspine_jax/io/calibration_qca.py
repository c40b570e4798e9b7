"""Qualisys calibrations, the ``.qca.txt`` files that QTM exports (XML).

Notation. ``r_ij`` is row i and column j of a rotation from the world to Qualisys's
camera frame, whose y points up and whose z points backward; x, y, z are the centre
of the camera in the world, mm. So, with C the centre and F = diag(1, -1, -1),

    R = F r,    t = -R C / 1000.

Focal lengths, principal points and the sensor's limits are in 1/64 px. The sensor
of a video w pixels wide ends at ``64 (w - 1)``, so that whole numbers are centres of
pixels, as in OpenCV. The video may show a part of the sensor: ``fov_video`` holds its
first and last column and row.

Distortion is OpenCV's and has no unit. Pose2Sim divides it by 64, which contradicts
chessboards filmed with the same cameras.
"""

import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from simspine_jax.io.camera_entry import CameraEntry, make_entry, to_rig
from simspine_jax.types import CameraRig

_SUBPIXELS = 64.0
_FLIP = np.array([[1.0], [-1.0], [-1.0]])
_MODELS_OF_VIDEO = ("", "none")


def read_qca(path: Path) -> CameraRig:
    """Reads the cameras of a Qualisys calibration.

    Cameras that are not active are left out. If some camera's model is a video
    camera's (it contains "Video", or is "none" or empty), the others are left out
    too, because they only see markers. Cameras keep the order of the file.

    Args:
        path: The ``.qca.txt`` file.

    Returns:
        The rig, m; a camera's name is its serial.

    Warns:
        UserWarning: A camera has a view rotation. The rig then belongs to the image
            as the sensor sees it, and an exported video may be turned.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not well-formed XML or not a Qualisys calibration, a field is
            missing or not a number, or the numbers are not those of a camera.

    Source: the file Qualisys's QTM exports, the meaning of whose numbers was found
    by triangulating keypoints of the trial it belongs to.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not well-formed XML ({error})") from None
    cameras = [
        camera
        for camera in root.findall("cameras/camera")
        if camera.get("active") != "0"
    ]
    if not cameras:
        raise ValueError(
            f"{path}: there is no active <camera> below <cameras>, so this is not a "
            "Qualisys calibration"
        )
    video = [camera for camera in cameras if _is_video(camera)]
    rig = to_rig([_entry(camera, path) for camera in video or cameras], path)
    for camera in video or cameras:
        turned = camera.get("viewrotation", "0")
        if turned not in ("", "0"):
            warnings.warn(
                f"{path}: camera {camera.get('serial')!r} has a view rotation of "
                f"{turned} degrees; its numbers are those of the image that is not "
                "turned",
                stacklevel=3,
            )
    return rig


def _is_video(camera: ElementTree.Element) -> bool:
    model = camera.get("model", "").strip().lower()
    return model in _MODELS_OF_VIDEO or "video" in model


def _entry(camera: ElementTree.Element, path: Path) -> CameraEntry:
    name = camera.get("serial", "")
    where = f"{path}: camera {name!r}"
    if not name:
        raise ValueError(f"{path}: a <camera> has no serial")
    right, bottom, left, top = _values(
        camera, "fov_video", ("right", "bottom", "left", "top"), where
    )
    fu, fv, cu, cv = _values(
        camera,
        "intrinsic",
        ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV"),
        where,
    )
    (skew,) = _values(camera, "intrinsic", ("skew",), where)
    # "tangental" is how the file spells it.
    distortion = _values(
        camera,
        "intrinsic",
        (
            *("radialDistortion1", "radialDistortion2"),
            *("tangentalDistortion1", "tangentalDistortion2", "radialDistortion3"),
        ),
        where,
    )
    cells = tuple(f"r{row}{column}" for row in "123" for column in "123")
    turn = np.array(_values(camera, "transform", cells, where)).reshape(3, 3)
    centre_mm = np.array(_values(camera, "transform", ("x", "y", "z"), where))
    rotation = _FLIP * turn
    return make_entry(
        path,
        name,
        matrix=[
            [fu / _SUBPIXELS, skew / _SUBPIXELS, cu / _SUBPIXELS - left],
            [0.0, fv / _SUBPIXELS, cv / _SUBPIXELS - top],
            [0.0, 0.0, 1.0],
        ],
        distortion=distortion,
        rotation=rotation,
        translation=-rotation @ centre_mm / 1000.0,
        image_size=(right - left + 1.0, bottom - top + 1.0),
    )


def _values(
    camera: ElementTree.Element, tag: str, fields: tuple[str, ...], where: str
) -> list[float]:
    element = camera.find(tag)
    if element is None:
        raise ValueError(f"{where}: there is no <{tag}>")
    found = []
    for field in fields:
        text = element.get(field)
        try:
            found.append(float(text if text is not None else "missing"))
        except ValueError:
            said = "is missing" if text is None else f"is {text!r}"
            raise ValueError(
                f"{where}: {field} of <{tag}> {said}, and it must be a number"
            ) from None
    return found
