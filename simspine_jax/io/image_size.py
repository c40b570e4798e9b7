"""Whether images belong to the calibration they are used with."""

import warnings

from simspine_jax.types import CameraRig

# A crop or a codec's padding changes the size by less, another mode of the camera
# by more.
LARGEST_DIFFERENCE = 0.02


def require_image_size(rig: CameraRig, camera: str, width: int, height: int) -> None:
    """Refuses images that are not of the size a camera was calibrated at.

    Args:
        rig: Calibrated cameras.
        camera: Name of one of them.
        width: Width of its images, px.
        height: Height of its images, px.

    Warns:
        UserWarning: A side differs, by 2 % or less.

    Raises:
        ValueError: The rig has no such camera, a side differs by more than 2 %, or
            the sides are nearer the calibration's when exchanged.
    """
    if camera not in rig.names:
        raise ValueError(
            f"the calibration has no camera {camera!r}; it has {', '.join(rig.names)}"
        )
    size = rig.image_size[rig.names.index(camera)]
    wanted = (int(size[0]), int(size[1]))
    if wanted == (width, height):
        return
    sizes = (
        f"camera {camera!r}: the images are {width} x {height} pixels and the "
        f"calibration is for {wanted[0]} x {wanted[1]}"
    )
    off = lambda w, h: abs(w - wanted[0]) + abs(h - wanted[1])
    if off(height, width) < off(width, height):
        raise ValueError(f"{sizes}; one of the two is turned by 90 degrees")
    pairs = ((width, wanted[0]), (height, wanted[1]))
    if any(abs(found - side) > LARGEST_DIFFERENCE * side for found, side in pairs):
        raise ValueError(
            f"{sizes}; they differ by more than {LARGEST_DIFFERENCE:.0%}, which is "
            "what is allowed"
        )
    warnings.warn(f"{sizes}; the difference is ignored", stacklevel=2)
