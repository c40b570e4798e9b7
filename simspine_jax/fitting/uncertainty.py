"""How sure a fit is: covariances of coordinates, markers and derived angles.

Notation: frame t, unknowns x [n], J marker Jacobian in them, w_m marker weight over
the sum W of the frame's weights, P curvature of the coordinate tasks, sigma noise SD
of every marker component. The curvature of the objective is
``H = sum_m w_m J_m^T J_m + P``, and with noise on the markers the fit has the
covariance ``H^-1 B H^-1`` with ``B = sigma^2 (sum_m w_m^2 J_m^T J_m + P / W)``: a task
of weight 1 counts as one more observation with the noise of a marker of weight 1. With
equal weights that is ``sigma^2 H^-1 / W``.

Source: Gauss-Newton covariance of a weighted fit (Seber and Wild, Nonlinear
Regression, 1989, section 2.8; the sandwich form for weights that are not inverse
variances).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.body.model import Model
from simspine_jax.core import robust
from simspine_jax.fitting import limit_truncation, linearised
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.fitting.linearised import FIXED, UNMOVED, information, tasks

_RANK = 1e-10  # eigenvalues of the scaled information below this share are null
TOUCHED = 1e-6  # a direction with this share (squared) in the null space is unknown
NORMAL_95 = 1.959963984540054  # half of a 95 % interval in SDs


@dataclass(frozen=True, eq=False)
class IkUncertainty:
    """Covariance of a fit: T frames, n unknowns, N coordinates.

    Attributes:
        noise_m: Noise SD of a marker component, given or estimated.
        x_covariance: Of the unknowns; the null space left out. Shape [T, n, n].
        null: Projector onto what the data leaves open, of scaled unknowns.
            Shape [T, n, n].
        scale: Unknowns times this are the scaled unknowns. Shape [T, n].
        data_share: Share of the information on each unknown that comes from markers;
            the rest comes from tasks and priors. Shape [T, n].
        slope: Derivative of each coordinate in its unknown. Shape [T, N].
        source: Unknown that drives each coordinate, or ``linearised.FIXED`` or
            ``UNMOVED``. Shape [N].
        solved: Whether the frame was fitted. Shape [T].
    """

    noise_m: float
    x_covariance: np.ndarray
    null: np.ndarray
    scale: np.ndarray
    data_share: np.ndarray
    slope: np.ndarray
    source: np.ndarray
    solved: np.ndarray

    @property
    def coordinate_sd(self) -> Float[np.ndarray, "t q"]:
        """SD of every coordinate, rad or m; inf where open, 0 where fixed."""
        n = self.scale.shape[1]
        unit = np.broadcast_to(np.eye(n), (len(self.scale), n, n))
        sd = self.sd_of(unit)
        own = np.where(
            self.source == UNMOVED, np.inf, sd[:, np.maximum(self.source, 0)]
        )
        size = np.abs(self.slope)
        # A coupler that is flat there holds its coordinate, whatever drives it.
        found = np.where(size > 0, own, 0.0) * size
        return np.where(self.source == FIXED, 0.0, found)

    @property
    def covariance(self) -> Float[np.ndarray, "t q q"]:
        """Of all coordinates, rad^2 and m^2; a row of an open one: inf, else 0."""
        sd = self.coordinate_sd
        known = np.isfinite(sd) & (self.source >= 0)
        index = np.maximum(self.source, 0)
        slope = np.where(known, self.slope, 0.0)
        full = self.x_covariance[:, index[:, None], index[None]]
        full = full * slope[:, :, None] * slope[:, None, :]
        each = np.arange(len(self.source))
        full[:, each, each] = sd**2
        return full

    def sd_of(self, gradient: Float[np.ndarray, "t k n"]) -> Float[np.ndarray, "t k"]:
        """SD of quantities with the given gradients in the unknowns; inf if open."""
        variance = np.einsum("tki,tij,tkj->tk", gradient, self.x_covariance, gradient)
        scaled = gradient / self.scale[:, None]
        lost = np.einsum("tki,tij,tkj->tk", scaled, self.null, scaled)
        size = (scaled**2).sum(axis=2)
        sd = np.sqrt(np.maximum(variance, 0.0))
        open_ = (lost > TOUCHED * size) | (~self.solved[:, None] & (size > 0))
        return np.where(open_, np.inf, sd)


def of_frames(
    plan: Plan,
    q: Float[np.ndarray, "t q"],
    data: IkData,
    noise_m: float | None = None,
) -> IkUncertainty:
    """Returns the covariance of frames that were fitted one by one.

    Args:
        plan: Markers, unknowns, tasks and loss of the fit.
        q: Fitted coordinates, rad and m.
        data: What was fitted: ``ik_prepare.observations``.
        noise_m: Noise SD of each marker component, m; None to estimate it from the
            residuals and their degrees of freedom.

    Raises:
        ValueError: Noise that is not positive, or too few markers to estimate it.
    """
    if noise_m is not None and not noise_m > 0:
        raise ValueError(f"the noise of the markers must be positive; it is {noise_m}")
    weight, total = np.asarray(data.weight), np.asarray(data.total)
    jacobian, points, slope = linearised.at(plan, q)
    source = linearised.sources(plan)
    miss = points - np.asarray(data.points)  # [T, M, 3]
    distance2 = (miss**2).sum(axis=2)
    used = weight * np.asarray(robust.apply(plan.loss, distance2)[1])
    prior, pull = tasks(plan, q, data, slope, source)
    each = np.arange(len(plan.columns))
    markers = information(jacobian, used)
    whole = markers.copy()
    whole[:, each, each] += prior
    inverse, null, scale = inverse_of(whole)
    solved = weight.sum(axis=1) > 0
    if noise_m is None:
        leverage = np.einsum("tij,tji->t", inverse, markers)
        noise_m = _noise(used, distance2, leverage[solved].sum())
    # A marker that the loss turned down errs by its distance, not by the noise.
    error2 = np.full(distance2.shape, noise_m**2)
    if plan.loss is not None:
        error2 = np.maximum(error2, distance2 / 3)
    spread = information(jacobian, used**2 * error2)
    spread[:, each, each] += noise_m**2 * prior / np.where(total > 0, total, 1)[:, None]
    gradient = np.einsum("tmi,tmin->tn", used[:, :, None] * miss, jacobian) + pull
    share = np.einsum("tij,tjk,tki->ti", inverse, markers, inverse)
    own = np.einsum("tii->ti", inverse)
    return IkUncertainty(
        noise_m=float(noise_m),
        x_covariance=limit_truncation.within_limits(
            plan, q, gradient, inverse, inverse @ spread @ inverse
        ),
        null=null,
        scale=scale,
        data_share=share / np.where(own > 0, own, 1.0),
        slope=slope,
        source=source,
        solved=solved,
    )


def marker_covariance(
    plan: Plan, model: Model, found: IkUncertainty, q: Float[np.ndarray, "t q"]
) -> Float[np.ndarray, "t m 3 3"]:
    """Returns the covariance of every marker of a model, m^2; inf where open.

    Args:
        plan: Of the fit.
        model: The fitted model with any markers, also ones that nobody observed.
        found: Covariance of the fit.
        q: Fitted coordinates.
    """
    gradient = linearised.at(plan, q, model).jacobian  # [T, M, 3, n]
    both = np.einsum("tmai,tij,tmbj->tmab", gradient, found.x_covariance, gradient)
    flat = gradient.reshape(len(q), -1, gradient.shape[-1])
    sd = found.sd_of(flat).reshape(*both.shape[:3])
    axis = np.arange(3)
    # Free coordinates that move none of the fit's markers are open.
    rest = tuple(k for k in range(len(model.topology.free)) if k not in plan.columns)
    unmoved = linearised.at(replace(plan, columns=rest), q, model).jacobian
    both[..., axis, axis] = np.where((unmoved != 0).any(axis=-1), np.inf, sd**2)
    return both


def derived_sd(
    plan: Plan,
    found: IkUncertainty,
    q: Float[np.ndarray, "t q"],
    function: Callable[[Float[jax.Array, " q"]], Float[jax.Array, " k"]],
) -> Float[np.ndarray, "t k"]:
    """Returns the SD of quantities derived from the coordinates, inf where open.

    Args:
        plan: Of the fit.
        found: Covariance of the fit.
        q: Fitted coordinates, rad and m.
        function: From all coordinates of one frame to K quantities, in JAX, such as
            a sum of lumbar levels or a curvature angle.
    """
    free = np.asarray(plan.model.topology.free, int)
    base = jnp.asarray(plan.model.expand(q[:, free]))
    slopes = np.asarray(jax.vmap(jax.jacfwd(function))(base))  # [T, K, N]
    n = found.scale.shape[1]
    driven = found.source[None] == np.arange(n)[:, None]  # [n, N]
    gradient = np.einsum("tkq,tq,iq->tki", slopes, found.slope, driven.astype(float))
    unmoved = np.abs(slopes[:, :, found.source == UNMOVED]).sum(axis=2) > 0
    return np.where(unmoved, np.inf, found.sd_of(gradient))


def inverse_of(
    information: Float[np.ndarray, "t n n"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pseudo-inverse, null projector of scaled unknowns, and the scale."""
    scale = np.sqrt(np.einsum("tii->ti", information))
    scale = np.where(scale > 0, scale, 1.0)
    value, vector = np.linalg.eigh(information / scale[:, :, None] / scale[:, None])
    null = value < _RANK * np.maximum(value[:, -1:], np.finfo(float).tiny)
    inverse = np.where(null, 0.0, 1.0 / np.where(null, 1.0, value))
    both = (vector * inverse[:, None]) @ vector.transpose(0, 2, 1)
    lost = (vector * null[:, None]) @ vector.transpose(0, 2, 1)
    return both / scale[:, :, None] / scale[:, None], lost, scale


def _noise(used: np.ndarray, distance2: np.ndarray, leverage: float) -> float:
    """Noise SD from weighted residuals and their degrees of freedom."""
    mean = used.sum() / max((used > 0).sum(), 1) or 1.0
    freedom = 3 * used.sum() / mean - leverage
    if freedom < 1e-6:  # rounding aside, none
        raise ValueError(
            "the noise of the markers cannot be estimated: the frames have "
            f"{3 * int((used > 0).sum())} marker components for {leverage:.0f} "
            "unknowns; give the noise (noise_m)"
        )
    return float(np.sqrt((used * distance2).sum() / mean / freedom))
