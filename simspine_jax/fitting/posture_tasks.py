"""Weak coordinate tasks that keep trunk and neck from turning where no body can.

Lumbar coordinates have no enforced limits in the full-body models, so that a frame with
wrong points may be fitted best by a spine that is bent by hundreds of degrees. These
tasks say that the sum of the lumbar levels and the neck stay near their default, with
an SD so wide that what markers tell is hardly changed: at 30 degrees, 37 keypoints of
weight 1 give a bend of 60 degrees back as 59.6, at 45 as 59.8.
"""

import jax
import numpy as np

from simspine_jax.body.model import Model
from simspine_jax.fitting.calibration_posture import ANGLES
from simspine_jax.types import CoordinateTask


def posture_tasks(
    model: Model, sd_deg: float, noise_m: float
) -> tuple[CoordinateTask, ...]:
    """Returns a task for each free coordinate that drives the trunk or the neck.

    For the objective "normalised", in which a task of weight v counts like v markers of
    weight 1.

    Args:
        model: The model that is fitted; one without such coordinates gets no task.
        sd_deg: SD of each sum of levels, degrees.
        noise_m: Noise SD of a component of a marker of weight 1, m.

    Raises:
        ValueError: A number that is not positive.
    """
    for name, value in (("sd_deg", sd_deg), ("noise_m", noise_m)):
        if not value > 0:
            raise ValueError(f"posture: {name} must be positive; it is {value}")
    free = np.asarray(model.topology.free, int)
    base = np.asarray(model.default_q, float)[free]
    slopes = np.asarray(jax.jacfwd(model.expand)(base))  # [n, f]
    place = {name: k for k, name in enumerate(model.coordinate_names)}
    tasks = []
    for angle in ANGLES:
        levels = [place[name] for name in angle if name in place]
        turn = slopes[levels].sum(axis=0)
        if not turn.any():
            continue
        # The coordinate that drives most of the sum; others deviate from it.
        driver = int(np.argmax(np.abs(turn)))
        weight = (noise_m * turn[driver] / np.deg2rad(sd_deg)) ** 2
        name = model.coordinate_names[free[driver]]
        tasks.append(CoordinateTask(name, float(weight)))
    return tuple(tasks)
