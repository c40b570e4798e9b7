"""Bundle adjustment: cameras and points together, points eliminated.

Notation: camera c of the given rig moves by a rotation vector w (rad) and a
displacement d (m), both in its own frame: ``X_c = exp(w) (R X + t) + d``, so w turns it
about its own centre and d moves that centre by the length of d. A last parameter g,
where there is one, scales its focal length by ``exp(g)``. Keypoint k may have a bias
b_ck (px) in camera c: a detector puts a knee seen from behind elsewhere than one seen
from the front. Point l, of keypoint k, is seen with a miss e (px), its projection, lens
included, and b_ck less the observation.

    cost = sum_cl rho(weight_cl |e_cl|^2)
           + sum_c (change_c / sd)^2 + sum_ck (b_ck / sd)^2

with rho Huber's loss. Gauss-Newton's matrix has one block U for each camera, one V for
each point and W between them; each step solves the Schur complement
``U - W V^-1 W^T``, dense in the cameras, and then the points one by one.

Source: Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment: A Modern
Synthesis, 2000 (sections 6.1 and 9); Levenberg-Marquardt with Marquardt's scaling.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.point_fit import Symmetric, inverse, times
from simspine_jax.core import robust
from simspine_jax.core.robust import RobustLoss
from simspine_jax.types import Array, CameraRig

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e-14, 1e8
_LESS, _MORE = 0.1, 10.0
_SETTLED = 1e-7  # rad and m: no camera moved by more


class Problem(NamedTuple):
    """What is adjusted to what.

    Attributes:
        rig: The given cameras, from which changes count.
        pixels: Observations. Shape [C, L, 2].
        weight: 1 over the variance of a pixel component, 1/px^2; 0 where the
            observation is not used. Shape [C, L].
        reach: Miss in SDs beyond which Huber's loss is linear.
        pull: 1 over the variance of each parameter of a camera about the given
            calibration. Shape [P], P = 6 or 7.
        bias_pull: 1 over the variance of each component of a keypoint's bias, 1/px^2;
            None for no biases. Shape [K, 2].
        keypoint: Which keypoint each point is, where there are biases. Shape [L].
    """

    rig: CameraRig
    pixels: Array
    weight: Array
    reach: Array | float
    pull: Array
    bias_pull: Array | None = None
    keypoint: Array | None = None


class Adjusted(NamedTuple):
    """Where bundle adjustment ended.

    Attributes:
        change: Of each camera: w, d and perhaps g. Shape [C, P].
        bias: Of each camera's keypoints, px; K = 0 without biases. Shape [C, K, 2].
        points: World points, m. Shape [3, L].
        steps: Steps tried.
    """

    change: Array
    bias: Array
    points: Array
    steps: int


def moved(rig: CameraRig, change: Float[Array, "c p"]) -> CameraRig:
    """Returns a rig with each camera changed; see the notation above.

    Args:
        rig: Cameras.
        change: Rotation vectors, rad, displacements, m, and perhaps logarithms of
            the factors of the focal lengths.
    """
    change = jnp.asarray(change)
    turn = _rotations(change[:, :3])
    matrix = jnp.asarray(rig.matrix)
    if change.shape[1] == 7:
        matrix = matrix.at[:, :2, :2].multiply(jnp.exp(change[:, 6])[:, None, None])
    slide = jnp.einsum("cij,cj->ci", turn, jnp.asarray(rig.translation))
    return rig.replace(  # pyright: ignore[reportAttributeAccessIssue]
        matrix=matrix,
        rotation=turn @ jnp.asarray(rig.rotation),
        translation=slide + change[:, 3:6],
    )


def adjust(
    problem: Problem,
    change: Float[Array, "c p"],
    bias: Float[Array, "c k 2"],
    points: Float[Array, "3 l"],
    max_steps: int,
) -> Adjusted:
    """Minimises the cost by Levenberg-Marquardt.

    Args:
        problem: Observations and weights.
        change: First guess of the cameras' changes.
        bias: First guess of the biases; K = 0 without.
        points: First guess of the points, m.
        max_steps: Steps to try at most.
    """
    change, bias, points = (jnp.asarray(a) for a in (change, bias, points))
    own, biases = change.shape[1], bias.shape
    change = jnp.concatenate([change, bias.reshape(len(change), -1)], axis=1)
    cost, damping, steps = float(_cost(problem, change, points)), _FIRST_DAMPING, 0
    while steps < max_steps and damping < _MOST_DAMPING:
        steps += 1
        cameras, spots = _step(problem, change, points, damping)
        new = float(_cost(problem, cameras, spots))
        size = float(jnp.max(jnp.abs(cameras - change)[:, :own]))
        if new <= cost:
            change, points, cost = cameras, spots, new
            damping = max(damping * _LESS, _LEAST_DAMPING)
        else:  # also where the new cost is not a number
            damping *= _MORE
        if size < _SETTLED:
            break
    return Adjusted(change[:, :own], change[:, own:].reshape(biases), points, steps)


def _rotations(vectors: Float[Array, "c 3"]) -> Array:
    square = jnp.sum(vectors**2, axis=1)
    small = square < 1e-12
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    first = jnp.where(small, 1 - square / 6, jnp.sin(angle) / angle)
    second = jnp.where(small, 0.5 - square / 24, (1 - jnp.cos(angle)) / angle**2)
    x, y, z = vectors.T
    none = jnp.zeros_like(x)
    rows = [none, -z, y, z, none, -x, -y, x, none]
    cross = jnp.stack(rows, axis=1).reshape(-1, 3, 3)
    first, second = first[:, None, None], second[:, None, None]
    return jnp.eye(3, dtype=x.dtype)[None] + first * cross + second * (cross @ cross)


def _misses(
    problem: Problem, lens: pinhole.Lens, change: Array, points: Array
) -> Array:
    """Returns projections with biases less observations, px. Shape [2, C, L].

    The change of a camera has its own parameters first, its biases after them.
    """
    own = len(problem.pull)
    rig = moved(problem.rig, change[:, :own])
    x, y, _ = pinhole.in_cameras(rig, points)
    u, v = pinhole.to_pixels(rig, *pinhole.distort(lens, x, y))
    miss = jnp.stack([u - problem.pixels[..., 0], v - problem.pixels[..., 1]])
    if problem.bias_pull is None:
        return miss
    bias = change[:, own:].reshape(len(change), *problem.bias_pull.shape)
    return miss + jnp.moveaxis(bias[:, problem.keypoint], 2, 0)


def _pull(problem: Problem) -> Array:
    """Returns that of all parameters of a camera, biases included."""
    if problem.bias_pull is None:
        return jnp.asarray(problem.pull)
    return jnp.concatenate([problem.pull, jnp.ravel(problem.bias_pull)])


@jax.jit
def _cost(problem: Problem, change: Array, points: Array) -> Array:
    miss = _misses(problem, pinhole.lens_of(problem.rig), change, points)
    square = problem.weight * jnp.sum(miss**2, axis=0)
    huber, _ = robust.apply(RobustLoss("huber", jnp.asarray(problem.reach)), square)
    return jnp.sum(huber) + jnp.sum(_pull(problem)[None] * change**2)


@jax.jit
def _step(
    problem: Problem, change: Array, points: Array, damping: Array | float
) -> tuple[Array, Array]:
    """Returns cameras and points after one damped step."""
    cameras, count = change.shape
    miss = partial(_misses, problem, pinhole.lens_of(problem.rig))
    e = miss(change, points)
    # A camera's pixels depend on that camera alone, a point's on that point alone:
    # one tangent serves all of them.
    tangent = lambda size, like: jnp.broadcast_to(
        jnp.eye(size, dtype=like.dtype)[..., None], (size, *like.shape)
    )
    in_change = jnp.swapaxes(tangent(count, change.T), 1, 2)
    in_point = tangent(3, points)
    by_camera = jax.vmap(
        lambda way: jax.jvp(lambda a: miss(a, points), (change,), (way,))[1]
    )(in_change)
    by_point = jax.vmap(
        lambda way: jax.jvp(lambda a: miss(change, a), (points,), (way,))[1]
    )(in_point)

    square = problem.weight * jnp.sum(e**2, axis=0)
    _, factor = robust.apply(RobustLoss("huber", jnp.asarray(problem.reach)), square)
    weight = problem.weight * factor

    u = jnp.einsum("pzcl,qzcl,cl->cpq", by_camera, by_camera, weight)
    v = jnp.einsum("izcl,jzcl,cl->ijl", by_point, by_point, weight)
    w = jnp.einsum("pzcl,izcl,cl->cpil", by_camera, by_point, weight)
    pull_camera = jnp.einsum("pzcl,zcl,cl->cp", by_camera, e, weight)
    prior = _pull(problem)[None]
    pull_camera = pull_camera + prior * change
    pull_point = jnp.einsum("izcl,zcl,cl->il", by_point, e, weight)

    eye = jnp.eye(count, dtype=u.dtype)[None]
    u = u * (1 + damping * eye) + prior[..., None] * eye
    more = 1 + damping
    entries = (
        v[0, 0] * more,
        v[0, 1],
        v[0, 2],
        v[1, 1] * more,
        v[1, 2],
        v[2, 2] * more,
    )
    over, _ = inverse(Symmetric(*entries))  # 0 for a point that nothing fixes
    xx, xy, xz, yy, yz, zz = over
    rows = jnp.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).reshape(3, 3, -1)
    shared = jnp.einsum("cpil,ijl->cpjl", w, rows)
    complement = -jnp.einsum("cpjl,dqjl->cpdq", shared, w)
    each = jnp.arange(cameras)
    complement = complement.at[each, :, each, :].add(u)
    right = pull_camera - jnp.einsum("cpjl,jl->cp", shared, pull_point)
    size = cameras * count
    solved = jnp.linalg.solve(complement.reshape(size, size), right.reshape(size))
    turn = -solved.reshape(cameras, count)
    left = pull_point + jnp.einsum("cpil,cp->il", w, turn)
    return change + turn, points - times(over, left)
