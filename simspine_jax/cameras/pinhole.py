"""Pinhole cameras with OpenCV's lens models: project, distort, undistort.

Notation: camera c takes a world point X to ``X_c = R X + t`` (m), to normalised image
coordinates ``x = (X_c / Z_c, Y_c / Z_c)``, through its lens to ``x_d`` and to pixels
``u = K x_d`` (x right, y down, origin at the centre of the top-left pixel). A lens is
used up to its valid radius, where the distorted radius stops growing; beyond it the
scale stays what it is there, so that nothing folds back and gradients stay finite.

Source: OpenCV's ``projectPoints`` (k1 k2 p1 p2 k3 k4 k5 k6) and that of its module
``fisheye`` (k1 k2 k3 k4), which it equals within the valid radius and in front of the
camera.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.core.staging import stage
from simspine_jax.types import Array, CameraRig

_NEAR_M = 1e-3  # nearer points, and those behind, are taken for this far
_WIDEST, _GRID = 4.0, 256  # normalised radii searched for the valid one
_NEWTON_STEPS = 20


class Lens(NamedTuple):
    """Distortion of C cameras, ready for arrays of shape [C, L].

    Attributes:
        coefficients: k1 k2 p1 p2 k3 [k4 k5 k6], or of a fisheye k1 to k4. Shape
            [D, C, 1], D = 5 or 8.
        limit: Valid radius, inf for no limit; of a fisheye an angle. Shape [C, 1].
        fisheye: Which cameras are fisheyes.
    """

    coefficients: Array
    limit: Array
    fisheye: tuple[bool, ...]


def lens_of(rig: CameraRig) -> Lens:
    """Returns the lenses of a rig.

    Raises:
        ValueError: Another number of coefficients than OpenCV's models have.
    """
    given = jnp.asarray(rig.distortion)
    count = given.shape[1]
    if count not in (4, 5, 8):
        raise ValueError(
            f"a camera has {count} distortion coefficients; OpenCV's models that are "
            "known here have 4, 5 or 8"
        )
    padded = jnp.pad(given, ((0, 0), (0, max(5, count) - count)))
    fisheye = rig.fisheye or (False,) * given.shape[0]
    lens = Lens(padded.T[:, :, None], jnp.full((given.shape[0], 1), jnp.inf), fisheye)
    return lens._replace(limit=jax.lax.stop_gradient(_valid_radius(lens)))


def project(
    rig: CameraRig, points: Float[Array, "*batch k 3"]
) -> Float[jax.Array, "*batch c k 2"]:
    """Returns pixels of world points in every camera.

    Args:
        rig: Cameras.
        points: World points, m.

    Finite everywhere; whether a camera sees a point is for ``visible`` to say.
    """
    points = jnp.asarray(points)
    pixels = jnp.stack(project_lanes(rig, points.reshape(-1, 3).T), axis=2)
    return _batched(pixels, points.shape[:-1])


def visible(
    rig: CameraRig, points: Float[Array, "*batch k 3"]
) -> Bool[jax.Array, "*batch c k"]:
    """Returns which cameras have world points in front, in lens and in image."""
    points = jnp.asarray(points)
    x, y, z = in_cameras(rig, points.reshape(-1, 3).T)
    lens = lens_of(rig)
    u, v = to_pixels(rig, *distort(lens, x, y))
    size = jnp.asarray(rig.image_size)[:, :, None] - 0.5
    inside = (u >= -0.5) & (v >= -0.5) & (u < size[:, 0]) & (v < size[:, 1])
    radius = jnp.sqrt(x * x + y * y)
    wide = jnp.asarray(np.array(lens.fisheye))[:, None]
    bent = jnp.where(wide, jnp.arctan(radius), radius)
    seen = inside & (z > _NEAR_M) & (bent < lens.limit)
    return _batched(jnp.asarray(seen), points.shape[:-1])


def undistort(
    rig: CameraRig, pixels: Float[Array, "*batch c k 2"]
) -> Float[jax.Array, "*batch c k 2"]:
    """Returns normalised image coordinates of pixels, the inverse of the lens.

    Newton's method to rounding; gradients by the implicit function theorem. Pixels
    that no ray within the valid radius reaches get some finite value.
    """
    pixels = jnp.asarray(pixels)
    lanes = by_camera(pixels)
    x, y = undistorted(rig, lens_of(rig), lanes[..., 0], lanes[..., 1])
    return _batched(jnp.stack([x, y], axis=2), (*pixels.shape[:-3], pixels.shape[-2]))


def by_camera(seen: Float[Array, "*batch c k 2"]) -> Float[jax.Array, "c l 2"]:
    """Returns what cameras saw with all other axes as one."""
    seen = jnp.moveaxis(jnp.asarray(seen), -3, 0)
    return seen.reshape(seen.shape[0], -1, 2)


def in_cameras(
    rig: CameraRig, points: Float[Array, "3 l"]
) -> tuple[Float[jax.Array, "c l"], Float[jax.Array, "c l"], Float[jax.Array, "c l"]]:
    """Returns normalised coordinates x and y of world points, and depths, m."""
    turn, slide = jnp.asarray(rig.rotation), jnp.asarray(rig.translation)
    row = lambda k: (
        turn[:, k, 0, None] * points[None, 0]
        + turn[:, k, 1, None] * points[None, 1]
        + turn[:, k, 2, None] * points[None, 2]
        + slide[:, k, None]
    )
    z = row(2)
    safe = jnp.where(z > _NEAR_M, z, _NEAR_M)
    return row(0) / safe, row(1) / safe, z


def project_lanes(rig: CameraRig, points: Float[Array, "3 l"]) -> tuple[Array, Array]:
    """Returns pixels u and v of world points, [C, L] each; see ``project``."""
    x, y, _ = in_cameras(rig, points)
    return to_pixels(rig, *distort(lens_of(rig), x, y))


def to_pixels(
    rig: CameraRig, x: Float[Array, "c l"], y: Float[Array, "c l"]
) -> tuple[Array, Array]:
    """Returns the pixels of distorted normalised coordinates."""
    m = jnp.asarray(rig.matrix)[..., None]  # [C, 3, 3, 1]
    return m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2], m[:, 1, 1] * y + m[:, 1, 2]


def undistorted(
    rig: CameraRig,
    lens: Lens,
    u: Float[Array, "c l"],
    v: Float[Array, "c l"],
    go: Array | None = None,
) -> tuple[Array, Array]:
    """Returns normalised coordinates x and y of pixels; see ``undistort``.

    Args:
        rig: Cameras.
        lens: Their lenses.
        u: Pixels across.
        v: Pixels down.
        go: See ``staging.stage``.
    """
    m = jnp.asarray(rig.matrix)[..., None]
    yd = (v - m[:, 1, 2]) / m[:, 1, 1]
    xd = (u - m[:, 0, 2] - m[:, 0, 1] * yd) / m[:, 0, 0]
    still = jax.lax.stop_gradient((lens.coefficients, lens.limit, xd, yd))
    fixed = Lens(still[0], still[1], lens.fisheye)
    # Newton's steps square the error: one more is left, below, after those that are
    # larger than the root of rounding.
    small = jnp.sqrt(4 * jnp.finfo(xd.dtype).eps)

    def step(state):
        x, y, _, count = state
        dx, dy = stage(go, partial(_newton, fixed), x, y, still[2], still[3])
        return x + dx, y + dy, jnp.max(jnp.abs(dx) + jnp.abs(dy)), count + 1

    def moving(state):
        return (state[2] > small) & (state[3] < _NEWTON_STEPS)

    start = (still[2], still[3], jnp.asarray(jnp.inf, xd.dtype), 0)
    x, y, _, _ = jax.lax.while_loop(moving, step, start)
    # A last step carries the derivatives; the values it leaves as they are.
    dx, dy = stage(go, partial(_newton, lens), x, y, xd, yd)
    return x + dx, y + dy


def distort(
    lens: Lens, x: Float[Array, "c l"], y: Float[Array, "c l"]
) -> tuple[Array, Array]:
    """Returns distorted normalised coordinates."""
    if not any(lens.fisheye):
        return _brown(lens, x, y)
    if all(lens.fisheye):
        return _fisheye(lens, x, y)
    wide = jnp.asarray(np.array(lens.fisheye))[:, None]
    both = zip(_fisheye(lens, x, y), _brown(lens, x, y), strict=True)
    one, two = (jnp.where(wide, a, b) for a, b in both)
    return one, two


def slopes(
    lens: Lens, x: Float[Array, "c l"], y: Float[Array, "c l"]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Returns the derivatives of ``distort`` in x and in y, (d/dx, d/dy)."""
    one, none = jnp.ones_like(x), jnp.zeros_like(x)
    warp = lambda x, y: distort(lens, x, y)
    in_x = jax.jvp(warp, (x, y), (one, none))[1]
    in_y = jax.jvp(warp, (x, y), (none, one))[1]
    return in_x, in_y


def _newton(lens: Lens, x, y, xd, yd) -> tuple[Array, Array]:
    (a, c), (b, d) = jax.lax.stop_gradient(slopes(lens, x, y))
    fx, fy = distort(lens, x, y)
    ex, ey = xd - fx, yd - fy
    # At the valid radius the lens is flat; no more than a bounded step is taken.
    size = a * d - b * c
    size = jnp.where(jnp.abs(size) > 1e-3, size, 1e-3)
    return (d * ex - b * ey) / size, (a * ey - c * ex) / size


def _brown(lens: Lens, x: Array, y: Array) -> tuple[Array, Array]:
    k1, k2, p1, p2, k3, *rational = lens.coefficients
    s = x * x + y * y
    top = lens.limit**2
    outside = s > top
    shrink = jnp.where(outside, jnp.sqrt(top / jnp.where(outside, s, 1.0)), 1.0)
    s = jnp.where(outside, top, s)
    radial = 1 + s * (k1 + s * (k2 + s * k3))
    if rational:
        k4, k5, k6 = rational
        radial = radial / (1 + s * (k4 + s * (k5 + s * k6)))
    a, b = shrink * x, shrink * y
    return (
        x * radial + 2 * p1 * a * b + p2 * (s + 2 * a * a),
        y * radial + p1 * (s + 2 * b * b) + 2 * p2 * a * b,
    )


def _fisheye(lens: Lens, x: Array, y: Array) -> tuple[Array, Array]:
    k1, k2, k3, k4 = lens.coefficients[:4]
    s = x * x + y * y
    centre = s < 1e-16
    radius = jnp.sqrt(jnp.where(centre, 1.0, s))
    angle = jnp.minimum(jnp.arctan(radius), lens.limit)
    a = angle * angle
    bent = angle * (1 + a * (k1 + a * (k2 + a * (k3 + a * k4))))
    scale = jnp.where(centre, 1.0, bent / radius)
    return x * scale, y * scale


def _valid_radius(lens: Lens) -> jax.Array:
    """Radius (fisheye: angle) up to which the distorted radius grows. [C, 1]."""
    radius = jnp.linspace(0.0, _WIDEST, _GRID)[None].astype(lens.coefficients.dtype)
    k = lens.coefficients[..., :1]  # [D, C, 1]
    k = jnp.pad(k, ((0, 8 - len(k)), (0, 0), (0, 0)))
    s = radius * radius
    over = 1 + s * (k[0] + s * (k[1] + s * k[4]))
    under = 1 + s * (k[5] + s * (k[6] + s * k[7]))
    brown = radius * over / jnp.where(jnp.abs(under) > 1e-9, under, 1e-9)
    angle = radius * (0.5 * np.pi / _WIDEST)
    a = angle * angle
    wide = angle * (1 + a * (k[0] + a * (k[1] + a * (k[2] + a * k[3]))))
    which = jnp.asarray(np.array(lens.fisheye))[:, None]
    bent = jnp.where(which, wide, brown)
    grid = jnp.where(which, angle, radius)
    falls = jnp.diff(bent, axis=1) <= 0
    first = jnp.argmax(falls, axis=1)[:, None]
    limit = jnp.take_along_axis(grid, jnp.maximum(first - 1, 0), axis=1)
    return jnp.where(jnp.any(falls, axis=1, keepdims=True), limit, jnp.inf)


def _batched(a: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Gives [C, L, ...] the axes [*batch, C, K, ...], of shape (*batch, K)."""
    a = a.reshape(a.shape[0], *shape, *a.shape[2:])
    return jnp.moveaxis(a, 0, len(shape) - 1)
