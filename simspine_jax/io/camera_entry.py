"""One camera as a file gives it, checked, and several of them as a rig.

Every calibration reader ends here. A camera maps ``x_cam = R x_world + t`` with x
right, y down and z forward; pixels have their origin at the centre of the top-left
pixel, as in OpenCV.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from simspine_jax.types import CameraRig

# Cameras further from their middle than this are not in metres.
LARGEST_RIG_M = 200.0
# Rounded files have rotations that are this far from orthonormal.
_ROTATION_TOLERANCE = 1e-3
_DISTORTION_SIZES = (4, 5, 8)


@dataclass(frozen=True)
class CameraEntry:
    """One camera.

    Attributes:
        name: Its name.
        matrix: Intrinsics, px. Shape [3, 3].
        distortion: OpenCV's coefficients, 4, 5 or 8 of them. Shape [D].
        rotation: World to camera. Shape [3, 3].
        translation: World origin in the camera frame, m. Shape [3].
        image_size: Width and height, px. Shape [2].
        fisheye: Whether the coefficients are those of OpenCV's fisheye model.
    """

    name: str
    matrix: np.ndarray
    distortion: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    image_size: np.ndarray
    fisheye: bool = False


def make_entry(
    source: object,
    name: str,
    *,
    matrix: Any,
    distortion: Any,
    rotation: Any,
    translation: Any,
    image_size: Any,
    fisheye: bool = False,
) -> CameraEntry:
    """Checks the numbers of one camera.

    Args:
        source: The file, for messages.
        name: Name of the camera.
        matrix: Intrinsics, px, any nesting of 9 numbers.
        distortion: 4, 5 or 8 coefficients in OpenCV's order; 1 to 3 and 6 or 7
            are filled with zeros, and so are none.
        rotation: World to camera, 9 numbers by rows or a Rodrigues vector of 3, rad.
        translation: World origin in the camera frame, m.
        image_size: Width and height, px.
        fisheye: Whether the model is OpenCV's fisheye.

    Returns:
        The camera, float64, its rotation made exactly orthonormal.

    Raises:
        ValueError: A field has the wrong number of numbers, is not finite, or is no
            camera's; the message names the file, the camera and the field.
    """
    where = f"{source}: camera {name!r}"
    intrinsics = _numbers(matrix, "matrix", where, (9,)).reshape(3, 3)
    size = _numbers(image_size, "image size", where, (2,))
    coefficients = _numbers(distortion, "distortion", where, range(9))
    _check_intrinsics(intrinsics, where)
    if (size < 1).any() or (size != np.round(size)).any():
        raise ValueError(
            f"{where}: the image size is {size.tolist()}, and it must be a whole "
            "positive width and height in pixels"
        )
    if fisheye and coefficients.size > 4:
        raise ValueError(
            f"{where}: a fisheye camera has 4 distortion coefficients, and "
            f"{coefficients.size} were found"
        )
    wanted = next(size for size in _DISTORTION_SIZES if size >= coefficients.size)
    turn = _numbers(rotation, "rotation", where, (3, 9))
    return CameraEntry(
        name=name,
        matrix=intrinsics,
        distortion=_padded(coefficients, wanted),
        rotation=rodrigues(turn) if turn.size == 3 else _rotation(turn, where),
        translation=_numbers(translation, "translation", where, (3,)),
        image_size=size,
        fisheye=fisheye,
    )


def to_rig(entries: Sequence[CameraEntry], source: object) -> CameraRig:
    """Stacks cameras to a rig, in the order given.

    Args:
        entries: At least one camera.
        source: The file or folder, for messages.

    Raises:
        ValueError: There is no camera, a name is repeated, or the cameras are so far
            apart that their translations cannot be metres.
    """
    if not entries:
        raise ValueError(f"{source}: there is no camera with all that a rig needs")
    names = tuple(entry.name for entry in entries)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{source}: camera {name!r} is named more than once")
    rotation = np.stack([entry.rotation for entry in entries])
    translation = np.stack([entry.translation for entry in entries])
    centres = -np.einsum("cji,cj->ci", rotation, translation)
    extent = float(np.ptp(centres, axis=0).max())
    if extent > LARGEST_RIG_M:
        raise ValueError(
            f"{source}: the cameras are {extent:.4g} m apart, more than the "
            f"{LARGEST_RIG_M:g} m of any rig; the numbers are probably in "
            "millimetres, which metres_per_unit=0.001 says"
        )
    width = max(entry.distortion.size for entry in entries)
    fisheye = tuple(entry.fisheye for entry in entries)
    return CameraRig(
        names=names,
        matrix=np.stack([entry.matrix for entry in entries]),
        distortion=np.stack([_padded(entry.distortion, width) for entry in entries]),
        rotation=rotation,
        translation=translation,
        image_size=np.stack([entry.image_size for entry in entries]),
        fisheye=fisheye if any(fisheye) else (),
    )


def rodrigues(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation by ``|vector|`` radians about ``vector``.

    Args:
        vector: Rotation vector, rad. Shape [3].

    Returns:
        Rotation matrix. Shape [3, 3].
    """
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    # sin(a)/a and (1 - cos(a))/a^2, which np.sinc keeps finite at 0.
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * cross @ cross


def _padded(coefficients: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([coefficients, np.zeros(size - coefficients.size)])


def _numbers(value: Any, field: str, where: str, sizes: Sequence[int]) -> np.ndarray:
    try:
        found = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {field} is not a table of numbers") from None
    if found.size not in sizes:
        allowed = f"{sizes[0]} to {sizes[-1]}"
        if len(sizes) <= 2:
            allowed = " or ".join(map(str, sizes))
        raise ValueError(
            f"{where}: {field} has {found.size} numbers, and it must have {allowed}"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"{where}: {field} has a number that is not finite")
    return found


def _check_intrinsics(matrix: np.ndarray, where: str) -> None:
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(
            f"{where}: the focal lengths are {matrix[0, 0]:g} and {matrix[1, 1]:g}, "
            "and they must be positive"
        )
    # OpenCV's projection has no skew, so that it would be dropped silently.
    if matrix[0, 1] != 0 or matrix[1, 0] != 0 or matrix[2].tolist() != [0, 0, 1]:
        raise ValueError(
            f"{where}: the matrix is {matrix.tolist()}, and it must have the form "
            "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; skew is not supported"
        )


def _rotation(numbers: np.ndarray, where: str) -> np.ndarray:
    found = numbers.reshape(3, 3)
    error = float(np.abs(found @ found.T - np.eye(3)).max())
    if error > _ROTATION_TOLERANCE or np.linalg.det(found) < 0:
        raise ValueError(
            f"{where}: the rotation is not one; R R^T is {error:.2g} from the "
            f"identity and det R is {np.linalg.det(found):.3g}, and they must be 0 "
            "and 1"
        )
    left, _, right = np.linalg.svd(found)
    return left @ right
