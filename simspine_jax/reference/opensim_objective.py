"""OpenSim's inverse kinematics objective, evaluated at any motion.

Notation: r is the vector from an observed marker to the model's (m), w its task's
weight, q a coordinate (rad or m), q* the value that its task holds it to.
"""

import numpy as np
from jaxtyping import Float

from simspine_jax.reference import opensim_tasks
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.types import Array, IkTasks, MarkerTrajectory


def objective(
    reference_model: ReferenceModel,
    q: Float[Array, "t n"],
    trajectory: MarkerTrajectory,
    tasks: IkTasks | None,
    kind: str = "opensim",
) -> Float[np.ndarray, " t"]:
    """What OpenSim minimises, for each frame of a motion.

    ``sum w |r|^2 / (2 sum w)`` over the markers seen in the frame, plus
    ``sum w_q (q - q*)^2 / 2``, which is not divided. Couplers and limits are not part
    of it.

    Args:
        reference_model: The model.
        q: Coordinates [T, N], rad and m, in the model's order.
        trajectory: Observed markers of the same T frames.
        tasks: Weights; tasks whose marker is not in both model and trajectory
            do nothing. None means every shared marker with weight 1.
        kind: Only "opensim".

    Returns:
        Objective of each frame; 0 for the markers' part where none was seen.
        Shape [T].

    Raises:
        ValueError: Another kind, shapes that differ, or an unknown coordinate.

    Source: OpenSim 4.6 ``InverseKinematicsSolver``, Simbody ``Markers::calcGoal`` and
    ``QValue::calcGoal``.
    """
    if kind != "opensim":
        raise ValueError(f"kind is {kind!r}; allowed is 'opensim'.")
    tasks = tasks or opensim_tasks.default_tasks(
        reference_model.marker_names, trajectory
    )
    q = np.asarray(q, np.float64)
    squared, weight = _squared_distances(reference_model, q, trajectory, tasks)
    total = weight.sum(axis=1)
    safe_total = np.where(total > 0, total, 1.0)
    value = 0.5 * (weight * squared).sum(axis=1) / safe_total
    names = reference_model.coordinate_names
    for held in tasks.coordinate_tasks:
        if held.name not in names:
            raise ValueError(
                f"coordinate task {held.name}: the model has no such coordinate; it "
                f"has {', '.join(names)}."
            )
        column = names.index(held.name)
        default = float(reference_model.default_q[column])
        target = opensim_tasks.coordinate_targets(held, default, trajectory.times_s)
        value = value + 0.5 * held.weight * (q[:, column] - target) ** 2
    return value


def marker_rms(
    reference_model: ReferenceModel,
    q: Float[Array, "t n"],
    trajectory: MarkerTrajectory,
    tasks: IkTasks | None = None,
) -> Float[np.ndarray, " t"]:
    """Root mean square marker distance of each frame, weights not applied.

    Args:
        reference_model: The model.
        q: Coordinates [T, N], rad and m, in the model's order.
        trajectory: Observed markers of the same T frames.
        tasks: Names the markers to count, those of weight 0 left out; None
            means every shared marker.

    Returns:
        RMS over the markers seen in the frame, m; 0 where none was seen. Shape [T].

    Raises:
        ValueError: Shapes differ.

    Source: OpenSim 4.6 ``marker_error_RMS`` of the tool's error report.
    """
    tasks = tasks or opensim_tasks.default_tasks(
        reference_model.marker_names, trajectory
    )
    q = np.asarray(q, np.float64)
    squared, weight = _squared_distances(reference_model, q, trajectory, tasks)
    counted = weight > 0
    number = np.maximum(counted.sum(axis=1), 1)
    return np.sqrt(np.where(counted, squared, 0.0).sum(axis=1) / number)


def _squared_distances(
    reference_model: ReferenceModel,
    q: np.ndarray,
    trajectory: MarkerTrajectory,
    tasks: IkTasks,
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance (m^2) and weight of each tracked marker, both [T, K]."""
    points = np.asarray(trajectory.points, np.float64)
    if len(points) != len(q):
        raise ValueError(
            f"the trajectory has {len(points)} frames and the motion {len(q)}; "
            "allowed is the same number."
        )
    names = [
        name
        for name in tasks.marker_weights
        if name in reference_model.marker_names and name in trajectory.names
    ]
    in_model = [reference_model.marker_names.index(name) for name in names]
    in_trial = [trajectory.names.index(name) for name in names]
    valid = np.asarray(trajectory.valid, bool)[:, in_trial]
    weight = np.array([tasks.marker_weights[name] for name in names], np.float64)
    weight = weight * valid  # [T, K]
    if trajectory.weight is not None:
        weight = weight * np.asarray(trajectory.weight, np.float64)[:, in_trial]
    placed = reference_model.marker_positions(q)[:, in_model]
    difference = np.where(valid[..., None], placed - points[:, in_trial], 0.0)
    return (difference**2).sum(axis=-1), weight
