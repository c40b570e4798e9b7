"""Camera calibrations of other tools, read as one kind of rig.

In memory, whatever the file: world to camera, ``x_cam = R x_world + t`` with x right,
y down and z forward; metres; pixels with their origin at the centre of the top-left
pixel; OpenCV's distortion.
"""

import os
from pathlib import Path

from simspine_jax.io import calibration_opencv, calibration_qca, calibration_toml
from simspine_jax.types import CameraRig

_QCA_ROOT = b"<calibration"
_OPENCV_ROOT = b"<opencv_storage"
_YAML_STARTS = (b"%YAML", b"---")
_HEAD_BYTES = 4096


def read_calibration(
    path: str | os.PathLike[str], *, metres_per_unit: float | None = None
) -> CameraRig:
    """Reads the cameras of a calibration.

    Formats: Qualisys (``.qca.txt``), TOML of Pose2Sim, Anipose or SIMSPINE, OpenCV's
    YAML and XML (one file for all cameras, or a folder with one for each), and JSON
    with OpenCV's or OpenCap's fields. XML is told apart by its root, all else by its
    suffix. Each format's conventions are in the module that reads it.

    Args:
        path: A file, or a folder of OpenCV or JSON files.
        metres_per_unit: Size of the unit of the file's translations, m, where the
            format leaves it open. Without it: metres, and millimetres for OpenCap.

    Returns:
        The cameras in the order of the file, float64 NumPy.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The format is none of these, ``metres_per_unit`` is not positive
            or contradicts a format that states its unit, or the file is wrong; the
            message names the file, the camera and the field.
    """
    path = Path(path)
    if metres_per_unit is not None and not 0 < metres_per_unit < float("inf"):
        raise ValueError(
            f"{path}: metres_per_unit is {metres_per_unit}, and it must be positive"
        )
    if path.is_dir():
        return calibration_opencv.read_opencv(path, metres_per_unit)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if _QCA_ROOT in head:
        if metres_per_unit not in (None, 0.001):
            raise ValueError(
                f"{path}: metres_per_unit is {metres_per_unit}, but a Qualisys "
                "calibration is always in millimetres"
            )
        return calibration_qca.read_qca(path)
    if suffix == ".toml":
        return calibration_toml.read_toml(path, metres_per_unit or 1.0)
    if (
        suffix in calibration_opencv.SUFFIXES
        or _OPENCV_ROOT in head
        or head.startswith(_YAML_STARTS)
    ):
        return calibration_opencv.read_opencv(path, metres_per_unit)
    raise ValueError(
        f"{path}: this is not a calibration that can be read; .qca.txt, .toml, .yml, "
        ".yaml, .xml and .json can"
    )


def write_calibration(path: str | os.PathLike[str], rig: CameraRig) -> None:
    """Writes a rig as Pose2Sim's TOML, whole or not at all.

    Args:
        path: Final path, which must end in ``.toml``; a file already there is
            replaced.
        rig: Cameras.

    Raises:
        ValueError: The suffix is another, or the rig is not one.
        FileNotFoundError: The folder does not exist.
    """
    if Path(path).suffix.lower() != ".toml":
        raise ValueError(
            f"{path}: a calibration is written as TOML, so its name must end in .toml"
        )
    calibration_toml.write_toml(path, rig)
