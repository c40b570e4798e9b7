"""SIMSPINE's published inverse kinematics tasks."""

from simspine_jax.skeletons import simspine_markers
from simspine_jax.types import CoordinateTask, IkTasks


def published_tasks() -> IkTasks:
    """Returns the tasks as published.

    They hold ``L5_S1_Flex_Ext`` at zero so strongly that a bent lumbar spine comes
    back straight; take ``without_coordinate_tasks()`` of them for use.

    Source: the set-up that SIMSPINE (arXiv 2602.20792) released.
    """
    held = simspine_markers.IK_COORDINATE_WEIGHTS.items()
    return IkTasks(
        marker_weights=dict(simspine_markers.IK_WEIGHTS),
        coordinate_tasks=tuple(CoordinateTask(name, weight) for name, weight in held),
        accuracy=simspine_markers.IK_ACCURACY,
    )
