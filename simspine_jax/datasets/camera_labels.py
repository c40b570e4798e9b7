"""What each camera sees of a sequence: 2D and camera-space labels, and boxes.

Camera space is ``R x_world + t``, the same that the pixels are projected from, through
the lens. Whether a keypoint is in the image is judged by the camera's own image size.

Source: MMPose's boxes of Human3.6M (scale = 1.2 x longer side / 200 px), which SIMSPINE
uses; the published preprocessing has camera-space points as ``R (x_world - t)`` and
takes every image for 1000 x 1000 px.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float

from simspine_jax.cameras import pinhole
from simspine_jax.datasets.spine_sequence import to_world
from simspine_jax.types import Array, CameraRig, MarkerTrajectory

BOX_FACTOR = 1.2
_SCALE_PX = 200.0  # MMPose's unit of a box's size
_FEWEST_FRAMES = 64


@struct.dataclass
class CameraLabels:
    """Labels of T frames in C cameras; `view` gives those of one, without the axis C.

    Attributes:
        pixels: Keypoints, px, 0 where they are missing or behind. Shape [T, C, K, 2].
        points: Keypoints in the camera's frame, m, 0 where missing. Shape [T, C, K, 3].
        visible: In front of the camera, in its lens and in its image; occlusion is not
            known. Shape [T, C, K].
        box: Left, top, right and bottom of the keypoints in front of the camera, px,
            not cut at the image's border. Shape [T, C, 4].
        center: Middle of the box, px. Shape [T, C, 2].
        scale: Longer side of the box with its margin, in 200 px. Shape [T, C].
        has_box: Whether two keypoints or more gave a box of some size; box, center and
            scale are 0 where not. Shape [T, C].
    """

    pixels: Array
    points: Array
    visible: Array
    box: Array
    center: Array
    scale: Array
    has_box: Array

    def view(self, camera: int) -> "CameraLabels":
        """Returns the labels of one camera, such as pixels [T, K, 2]."""
        return jax.tree.map(lambda a: a[:, camera], self)


def camera_labels(
    rig: CameraRig, markers: MarkerTrajectory, *, box_factor: float = BOX_FACTOR
) -> CameraLabels:
    """Returns the labels of a sequence in every camera.

    Args:
        rig: Cameras in the world of SIMSPINE's files, Z up.
        markers: Keypoints in ground, Y up, m; those not valid get no label and are in
            no box.
        box_factor: Size of the box with its margin to the size without.

    Returns:
        NumPy arrays, frames before cameras.

    Raises:
        ValueError: ``box_factor`` is not positive.
    """
    if not 0 < box_factor < float("inf"):
        raise ValueError(f"box_factor is {box_factor}, and it must be positive")
    valid = np.asarray(markers.valid)
    world = np.where(valid[..., None], to_world(markers.points), 0.0)
    # Whole powers of two, so that few lengths are compiled.
    frames = len(valid)
    more = max(_FEWEST_FRAMES, 1 << max(frames - 1, 0).bit_length()) - frames
    world = np.pad(world, ((0, more), (0, 0), (0, 0)))
    labels = labels_in_views(rig, world, np.pad(valid, ((0, more), (0, 0))), box_factor)
    return jax.tree.map(lambda a: np.asarray(a)[:frames], labels)


@jax.jit
def labels_in_views(
    rig: CameraRig,
    world: Float[Array, "t k 3"],
    valid: Bool[Array, "t k"],
    box_factor: Float[Array, ""] | float = BOX_FACTOR,
) -> CameraLabels:
    """Returns the labels of world points, as JAX arrays; see `camera_labels`.

    Args:
        rig: Cameras.
        world: Points in the world of the cameras, m; finite everywhere.
        valid: Which of them are there.
        box_factor: Size of the box with its margin to the size without.
    """
    there = jnp.asarray(valid)[:, None]  # [T, 1, K]
    points = jnp.einsum(
        "cij,tkj->tcki",
        jnp.asarray(rig.rotation),
        jnp.asarray(world),
        precision=jax.lax.Precision.HIGHEST,
    )
    points = points + jnp.asarray(rig.translation)[None, :, None]
    drawn = there & (points[..., 2] > 0)
    pixels = jnp.where(drawn[..., None], pinhole.project(rig, world), 0.0)
    some = drawn.any(axis=2)[..., None]  # [T, C, 1]
    low = jnp.where(drawn[..., None], pixels, jnp.inf).min(axis=2)
    high = jnp.where(drawn[..., None], pixels, -jnp.inf).max(axis=2)
    low, high = jnp.where(some, low, 0.0), jnp.where(some, high, 0.0)  # [T, C, 2]
    side = (high - low).max(axis=-1)
    has_box = side > 0
    kept = lambda a: jnp.where(has_box[..., None], a, 0.0)
    return CameraLabels(
        pixels=pixels,
        points=jnp.where(there[..., None], points, 0.0),
        visible=there & pinhole.visible(rig, world),
        box=kept(jnp.concatenate([low, high], axis=-1)),
        center=kept((low + high) / 2),
        scale=jnp.where(has_box, box_factor * side / _SCALE_PX, 0.0),
        has_box=has_box,
    )
