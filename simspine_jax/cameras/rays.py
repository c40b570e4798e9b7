"""What cameras saw of points, as rays with the weight of their pixels.

Notation: observation of point l by camera c: ray ``x`` in normalised coordinates, and
A the 2 x 2 matrix ``S^T S`` with S the derivative of the pixels in the normalised
coordinates at the ray. A point that projects to ``x + e`` misses the observation by
``e^T A e`` squared pixels, to first order in e; the lens need not be evaluated again.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from simspine_jax.cameras import pinhole
from simspine_jax.core.staging import stage
from simspine_jax.types import Array, CameraRig


class Views(NamedTuple):
    """Cameras as the fit of points takes them, world moved to ``origin``.

    Attributes:
        rotation: World to camera. Shape [C, 3, 3].
        translation: Of the moved world, m. Shape [C, 3].
        origin: Where the moved world has its origin, m. Shape [3].
    """

    rotation: Array
    translation: Array
    origin: Array


class Rays(NamedTuple):
    """Observations of L points by C cameras.

    Attributes:
        x: Normalised coordinate. Shape [C, L].
        y: The other. Shape [C, L].
        axx: A's entries, px^2. Shape [C, L].
        axy: The same.
        ayy: The same.
        weight: Confidence, 0 where nothing was seen. Shape [C, L].
    """

    x: Array
    y: Array
    axx: Array
    axy: Array
    ayy: Array
    weight: Array


def views_of(rig: CameraRig) -> Views:
    """Returns the cameras with the world moved to where their axes nearly meet.

    Near its origin single precision is finest.
    """
    turn, slide = jnp.asarray(rig.rotation), jnp.asarray(rig.translation)
    rotation, translation = jax.lax.stop_gradient((turn, slide))
    axis = rotation[:, 2]  # optical axis in the world
    centre = -jnp.einsum("cji,cj->ci", rotation, translation)
    apart = jnp.eye(3, dtype=axis.dtype)[None] - axis[:, :, None] * axis[:, None]
    # Cameras that look the same way have no such point: the mean camera serves.
    pull = 1e-3 * jnp.eye(3, dtype=axis.dtype)
    matrix = jnp.sum(apart, axis=0) + pull
    right = jnp.einsum("cij,cj->i", apart, centre) + 1e-3 * jnp.mean(centre, axis=0)
    origin = jnp.linalg.solve(matrix, right)
    moved = slide + jnp.einsum(
        "cij,j->ci", turn, origin, precision=jax.lax.Precision.HIGHEST
    )
    return Views(turn, moved, origin)


def rays_of(
    go: Array | None,
    rig: CameraRig,
    pixels: Float[Array, "c l 2"],
    confidence: Float[Array, "c l"],
) -> Rays:
    """Returns the rays of pixels; those without confidence are not read.

    Args:
        go: See ``staging.stage``.
        rig: Cameras.
        pixels: What they saw.
        confidence: 0 where nothing.
    """
    lens = pinhole.lens_of(rig)
    matrix = jnp.asarray(rig.matrix)
    seen = confidence > 0
    centre = matrix[:, :2, 2]
    u = jnp.where(seen, pixels[..., 0], centre[:, :1])
    v = jnp.where(seen, pixels[..., 1], centre[:, 1:])
    x, y = pinhole.undistorted(rig, lens, u, v, go)
    (ax, cx), (bx, dx) = stage(go, partial(pinhole.slopes, lens), x, y)
    fx, skew, fy = (matrix[:, i, j, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    # S = [[fx, skew], [0, fy]] times the slopes of the lens.
    s00, s01 = fx * ax + skew * cx, fx * bx + skew * dx
    s10, s11 = fy * cx, fy * dx
    return Rays(
        x,
        y,
        s00 * s00 + s10 * s10,
        s00 * s01 + s10 * s11,
        s01 * s01 + s11 * s11,
        jnp.where(seen, confidence, 0.0),
    )
