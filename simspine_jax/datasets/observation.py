"""What a detector would see of simulated people: noise, drift, hidden and lost points.

The model, for each view and keypoint:

* Scatter: Gaussian, independent in every frame and component. Drift: Gaussian with the
  correlation exp(-|t| / drift_s). Both have an SD in metres at the person, which the
  camera turns into px by focal length over depth, and both are larger for keypoints
  that annotators place less surely: by the keypoint's OKS sigma over their mean.
* Hidden: another part of the body is between the keypoint and the camera. Parts are
  rows of spheres along trunk, head and limbs. A hidden keypoint is lost in a share of
  the frames; the others have a larger error and a lower confidence.
* Wrong: a share of the observations is displaced in a random direction, evenly between
  two distances, with the confidence of a right one.
* Lost: outside the image, or at random. Lost observations have confidence 0.
* Confidence: ``exp(-error / (6 SD))`` times a uniform factor of 0.8 to 1, halved for
  hidden keypoints.

The spread of real detectors is of this size: residuals of the calibrated four-view
capture that ``experiments.triangulate`` shows, refined, are 8 px, at 7 mm a pixel.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float

from simspine_jax.cameras import pinhole
from simspine_jax.skeletons import simspine
from simspine_jax.types import Array, CameraRig


@struct.dataclass
class NoiseModel:
    """How badly a detector sees; all zero for exact projections of every keypoint.

    Attributes:
        scatter_m: SD of a component's scatter for a mean keypoint, m at the person.
        drift_m: SD of its drift, m at the person.
        drift_s: Correlation time of the drift, s.
        hidden_factor: By which scatter and drift of hidden keypoints grow.
        hidden_lost: Share of the hidden observations that are lost.
        lost: Share of the others that are lost.
        wrong: Share of all observations that are displaced.
        wrong_px: By how much at least and at most.
    """

    scatter_m: float = 0.006
    drift_m: float = 0.006
    drift_s: float = 0.3
    hidden_factor: float = 2.5
    hidden_lost: float = 0.3
    lost: float = 0.01
    wrong: float = 0.01
    wrong_px: tuple[float, float] = (30.0, 300.0)


DEFAULT = NoiseModel()
EXACT = NoiseModel(0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)


class Observed(NamedTuple):
    """What the views see.

    Attributes:
        pixels: 0 where lost. Shape [T, C, K, 2].
        confidence: 0 where lost. Shape [T, C, K].
        hidden: Whether the body is in the way, seen or not. Shape [T, C, K].
    """

    pixels: jax.Array
    confidence: jax.Array
    hidden: jax.Array


# Ends as means of keypoints, radius (m), spheres along it.
_PARTS = (
    (("LShoulder", "RShoulder"), ("LHip", "RHip"), 0.12, 5),
    (("Head",), ("Neck_03",), 0.085, 2),
    *(((f"{s}Hip",), (f"{s}Knee",), 0.07, 4) for s in "LR"),
    *(((f"{s}Knee",), (f"{s}Ankle",), 0.045, 4) for s in "LR"),
    *(((f"{s}Shoulder",), (f"{s}Elbow",), 0.045, 3) for s in "LR"),
    *(((f"{s}Elbow",), (f"{s}Wrist",), 0.035, 3) for s in "LR"),
)
_CLEAR = 0.5  # of its radius: how far in front a sphere's centre is when it hides
_SEEN_THROUGH = 0.8  # of its radius: a ray that passes farther out is not hidden


@jax.jit
def observe(
    rig: CameraRig,
    points: Float[Array, "t 37 3"],
    key: jax.Array,
    rate_hz: float | Array,
    noise: NoiseModel = DEFAULT,
) -> Observed:
    """Sees SIMSPINE's 37 keypoints in every view.

    Args:
        rig: C cameras.
        points: Keypoints in the rig's world, in the order of ``simspine.NAMES``, m.
        key: Of the randomness.
        rate_hz: Frames per second.
        noise: How badly.

    Returns:
        What is seen.
    """
    exact = pinhole.project(rig, points)  # [t, c, k, 2]
    kind = exact.dtype
    rotation = jnp.asarray(rig.rotation, kind)
    depth = jnp.einsum("cj,tkj->tck", rotation[:, 2], points)
    depth = depth + jnp.asarray(rig.translation, kind)[None, :, 2, None]
    focal = jnp.asarray(rig.matrix, kind)[:, 0, 0]
    hidden = hidden_by_body(rig, points)

    keys = jax.random.split(key, 7)
    relative = np.array([simspine.OKS_SIGMAS[name] for name in simspine.NAMES])
    pixel_m = focal[None, :, None] / depth  # px a metre at the person
    unit = pixel_m * (relative / relative.mean())[None, None]
    unit = unit * jnp.where(hidden, noise.hidden_factor, 1.0)
    scatter = noise.scatter_m * jax.random.normal(keys[0], exact.shape, kind)
    drift = noise.drift_m * _drift(keys[1], exact.shape, rate_hz * noise.drift_s, kind)
    error = unit[..., None] * (scatter + drift)
    mean = unit * jnp.hypot(noise.scatter_m, noise.drift_m)
    strength = jnp.linalg.norm(error, axis=-1) / jnp.where(mean > 0, 6 * mean, 1.0)
    confidence = jnp.exp(-strength) * jax.random.uniform(
        keys[2], strength.shape, kind, 0.8, 1.0
    )
    confidence = confidence * jnp.where(hidden, 0.5, 1.0)

    wrong = jax.random.uniform(keys[3], strength.shape, kind) < noise.wrong
    far = jax.random.uniform(
        keys[4], strength.shape, kind, noise.wrong_px[0], noise.wrong_px[1]
    )
    angle = jax.random.uniform(keys[5], strength.shape, kind, 0.0, 2 * np.pi)
    away = far[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    pixels = exact + error + jnp.where(wrong[..., None], away, 0.0)

    size = jnp.asarray(rig.image_size, kind)[None, :, None]
    inside = jnp.all((pixels >= -0.5) & (pixels < size - 0.5), axis=-1)
    share = jnp.where(hidden, noise.hidden_lost, noise.lost)
    kept = jax.random.uniform(keys[6], strength.shape, kind) >= share
    seen = inside & kept & (depth > 0)
    return Observed(
        jnp.where(seen[..., None], pixels, 0.0),
        jnp.where(seen, confidence, 0.0),
        hidden,
    )


def hidden_by_body(
    rig: CameraRig, points: Float[Array, "t 37 3"]
) -> Bool[jax.Array, "t c 37"]:
    """Returns which keypoints another part of the body hides from a camera.

    Args:
        rig: C cameras.
        points: As for ``observe``.
    """
    weight, radius = _spheres()
    points = jnp.asarray(points)
    centres = jnp.einsum("sk,tkj->stj", weight.astype(points.dtype), points)
    eyes = jnp.asarray(rig.centres, points.dtype)
    ray = eyes[None, :, None] - points[:, None]  # [t, c, k, 3]
    ray = ray / jnp.linalg.norm(ray, axis=-1, keepdims=True)

    def behind(hidden, sphere):
        centre, r = sphere
        to = centre[:, None, None] - points[:, None]  # [t, 1, k, 3]
        along = jnp.sum(to * ray, axis=-1)
        aside = jnp.sum(to * to, axis=-1) - along**2
        before = (along > _CLEAR * r) & (aside < (_SEEN_THROUGH * r) ** 2)
        return hidden | before, None

    nothing = jnp.zeros(ray.shape[:-1], bool)
    radius = jnp.asarray(radius, points.dtype)
    # One sphere after the other: all at once would fill the memory.
    return jax.lax.scan(behind, nothing, (centres, radius))[0]


def _drift(
    key: jax.Array, shape: tuple[int, ...], frames: Array | float, kind: jnp.dtype
) -> jax.Array:
    """Returns unit Gaussian sequences with a correlation time in frames."""
    keep = jnp.exp(-1.0 / jnp.maximum(frames, 1e-9)).astype(kind)
    fresh = jnp.sqrt(1 - keep**2)
    draws = jax.random.normal(key, shape, kind)

    def step(before, draw):
        now = keep * before + fresh * draw
        return now, now

    _, later = jax.lax.scan(step, draws[0], draws[1:])
    return jnp.concatenate([draws[:1], later])


def _spheres() -> tuple[np.ndarray, np.ndarray]:
    """Returns centres as weights of keypoints [S, 37], and radii [S], m."""
    rows, radius = [], []
    for begin, end, r, count in _PARTS:
        for part in (np.arange(count) + 0.5) / count:
            row = np.zeros(len(simspine.NAMES))
            for names, share in ((begin, 1 - part), (end, part)):
                for name in names:
                    row[simspine.NAMES.index(name)] += share / len(names)
            rows.append(row)
            radius.append(r)
    return np.array(rows), np.array(radius)
