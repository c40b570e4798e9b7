"""Landmarks and spine angles along a fit, with how sure they are.

Notation: T frames, K points, f free coordinates, C their covariance, J the derivative
of a point or angle in them. To first order its covariance is ``J C J^T``. A free
coordinate that the markers leave open has no variance: what depends on it is
undetermined, which is said by inf and never by a number.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body import spine_angles, spine_markers
from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.fitting import replay
from simspine_jax.fitting.ik_solution import EMPTY, IkSolution
from simspine_jax.types import MarkerTrajectory

_PIECE = 256
_MOVES = 1e-9  # m or rad per rad or m; below it a coordinate does not count
_SHAPES = {"levels": (len(spine_angles.LEVELS), 3)}
_SHAPES |= {"ground": (len(spine_angles.BODIES), 3)}
_SHAPES |= {"lla": (), "tka": (), "lordosis": (), "kyphosis": ()}


@dataclass(frozen=True, eq=False)
class VirtualMarkers:
    """Points on a fitted model.

    Attributes:
        trajectory: Positions in ground, m; valid where the frame was fitted, or
            filled by a prior along time.
        covariance: Of every point, m^2; on its diagonal inf in the directions that
            the fit leaves open, where all else of row and column is not told. None
            if the fit has no covariance. Shape [T, K, 3, 3].
    """

    trajectory: MarkerTrajectory
    covariance: np.ndarray | None

    @property
    def sd(self) -> Float[np.ndarray, "t k 3"]:
        """SD of every component, m; inf where open.

        Raises:
            ValueError: The fit has no covariance.
        """
        if self.covariance is None:
            raise ValueError(
                "these markers have no covariance; ask for it in the fit: "
                "IkOptions(covariance=True)"
            )
        return np.sqrt(np.einsum("tkii->tki", self.covariance))

    @property
    def undetermined(self) -> Bool[np.ndarray, "t k"]:
        """Points of which some direction is open, or whose frame was not fitted.

        Raises:
            ValueError: The fit has no covariance.
        """
        open_ = np.any(np.isinf(self.sd), axis=2)
        return np.asarray(open_ | ~np.asarray(self.trajectory.valid))

    def only(self, names: tuple[str, ...]) -> "VirtualMarkers":
        """Returns some of the points, such as ``simspine.SPINE_NAMES``.

        Raises:
            ValueError: A name that is not among the points.
        """
        known = self.trajectory.names
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"there is no virtual marker {unknown[0]!r}; there are "
                f"{', '.join(known)}"
            )
        index = [known.index(name) for name in names]
        whole = self.trajectory
        return VirtualMarkers(
            replace(
                whole,
                points=whole.points[:, index],
                valid=whole.valid[:, index],
                names=tuple(names),
            ),
            None if self.covariance is None else self.covariance[:, index],
        )


@dataclass(frozen=True, eq=False)
class SpineAngleSd:
    """SDs of ``SpineAngles``, rad; inf where the fit leaves the angle open.

    Attributes:
        levels: Shape [T, 7, 3].
        ground: Shape [T, 8, 3].
        lla: Shape [T].
        tka: 0: the thorax is rigid, so that a fit says nothing of it. Shape [T].
        lordosis: Of the keypoints on the model. Shape [T].
        kyphosis: Shape [T].
    """

    levels: np.ndarray
    ground: np.ndarray
    lla: np.ndarray
    tka: np.ndarray
    lordosis: np.ndarray
    kyphosis: np.ndarray


def virtual_markers(model: Model, solution: IkSolution) -> VirtualMarkers:
    """Returns SIMSPINE's 37 keypoints along a fit.

    Args:
        model: The fitted model; its own markers do not matter.
        solution: Its fit, with covariance or without.

    Returns:
        The points in the order of ``simspine.NAMES``; ``only(SPINE_NAMES)`` are the
        15 of the spine.

    Raises:
        ValueError: The model lacks a body that carries a keypoint, or the solution
            is of another model.
    """
    return placed_markers(spine_markers.with_keypoints(model), solution)


def placed_markers(model: Model, solution: IkSolution) -> VirtualMarkers:
    """Returns the markers of a model along a fit.

    A point is undetermined as soon as one open coordinate moves it, also where the
    markers tell the point though no coordinate by itself; ``uncertainty`` tells these
    apart where the whole fit is at hand.

    Args:
        model: The fitted model with any markers.
        solution: Its fit, with covariance or without.

    Raises:
        ValueError: The solution is of another model.
    """
    _require_same(model, solution)
    q = np.asarray(solution.q)
    there = fitted_frames(solution)
    points = replay.marker_points(model, replay.body_poses(model, q))
    valid = np.repeat(there[:, None], len(model.marker_names), axis=1)
    trajectory = MarkerTrajectory(
        np.where(valid[..., None], points, 0.0),
        valid,
        model.marker_names,
        solution.rate_hz,
        solution.start_s,
    )
    if solution.covariance is None:
        return VirtualMarkers(trajectory, None)
    known, open_ = _free_covariance(model, solution)
    parts = [np.zeros((0, len(model.marker_names), 3, 3))]
    for frames, jacobian in _pieces(_jacobian, model, q):
        both = jacobian @ known[frames, None] @ np.swapaxes(jacobian, 2, 3)
        lost = _depends(jacobian, open_[frames, None, None])  # [t, K, 3]
        axis = np.arange(3)
        both[..., axis, axis] = np.where(lost, np.inf, both[..., axis, axis])
        parts.append(both)
    return VirtualMarkers(trajectory, np.concatenate(parts))


def spine_angle_sd(model: Model, solution: IkSolution) -> SpineAngleSd:
    """Returns the SDs of ``spine.spine_angles(model, solution.motion)``.

    Args:
        model: The fitted model; its own markers do not matter.
        solution: Its fit, with covariance.

    Raises:
        ValueError: The fit has no covariance, the model lacks a vertebra, or the
            solution is of another model.
    """
    spine_angles.require_spine(model)
    _require_same(model, solution)
    if solution.covariance is None:
        raise ValueError(
            "this fit has no covariance; ask for it: IkOptions(covariance=True)"
        )
    known, open_ = _free_covariance(model, solution)
    parts = [np.zeros((0, sum(int(np.prod(s)) for s in _SHAPES.values())))]
    bare = with_markers(model, {})
    for frames, slope in _pieces(_slopes, bare, np.asarray(solution.q)):
        variance = np.einsum("tai,tij,taj->ta", slope, known[frames], slope)
        lost = _depends(slope, open_[frames, None])
        parts.append(np.where(lost, np.inf, np.sqrt(np.maximum(variance, 0.0))))
    flat, found, start = np.concatenate(parts), {}, 0
    for name, shape in _SHAPES.items():
        count = int(np.prod(shape))
        found[name] = flat[:, start : start + count].reshape(len(flat), *shape)
        start += count
    return SpineAngleSd(**found)


def fitted_frames(solution: IkSolution) -> Bool[np.ndarray, " t"]:
    """Returns the frames that have a pose of their own.

    Those with markers; with a covariance also those that a prior along time filled.
    """
    there = np.asarray(solution.status) != EMPTY
    if solution.covariance is None:
        return there
    own = np.einsum("tii->ti", solution.covariance)
    return there | (np.isfinite(own) & (own > 0)).any(axis=1)


def _require_same(model: Model, solution: IkSolution) -> None:
    if solution.coordinate_names != model.coordinate_names:
        raise ValueError(
            f"the fit has {len(solution.coordinate_names)} coordinates of another "
            f"model; this one has {', '.join(model.coordinate_names)}"
        )


def _free_covariance(
    model: Model, solution: IkSolution
) -> tuple[Float[np.ndarray, "t f f"], Bool[np.ndarray, "t f"]]:
    """Returns the covariance of the free coordinates, 0 where open, and where it is."""
    free = np.asarray(model.topology.free, int)
    known = np.asarray(solution.covariance)[:, free][:, :, free]
    each = np.arange(len(free))
    open_ = np.isinf(known[:, each, each])
    known[:, each, each] = np.where(open_, 0.0, known[:, each, each])
    return known, open_


def _depends(slope: np.ndarray, open_: np.ndarray) -> np.ndarray:
    return np.asarray(np.any((np.abs(slope) > _MOVES) & open_, axis=-1))


def _pieces(function, model: Model, q: Float[np.ndarray, "t n"]):
    """Yields frames and what a function of the free coordinates gives there."""
    free = q[:, np.asarray(model.topology.free, int)]
    for i in range(0, len(free), _PIECE):
        part = free[i : i + _PIECE]
        padded = np.zeros((_PIECE, free.shape[1]), free.dtype)
        padded[: len(part)] = part
        found = np.asarray(function(model, padded), np.float64)[: len(part)]
        yield slice(i, i + len(part)), found


_jacobian = jax.jit(marker_jacobian)


@jax.jit
def _slopes(model: Model, q_free: Float[jax.Array, "t f"]) -> jax.Array:
    """Returns the derivatives of all angles in the free coordinates. [T, A, f]."""

    def flat(x: jax.Array) -> jax.Array:
        angles = spine_angles.pose_angles(model, model.expand(x))
        return jnp.concatenate([jnp.ravel(getattr(angles, n)) for n in _SHAPES])

    return jax.vmap(jax.jacfwd(flat))(q_free)
