"""Tasks on SIMSPINE's 37 keypoints: the published ones, and ours."""

from simspine_jax.skeletons import simspine, simspine_markers
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


def oks_tasks() -> IkTasks:
    """Returns weights by how surely annotators place each keypoint, nothing held.

    The weight is the inverse variance that its sigma in object keypoint similarity
    implies, 1 at the mean sigma. The published weights trust the hips most, which
    annotators place least surely of all limbs.
    """
    mean = sum(simspine.OKS_SIGMAS.values()) / len(simspine.OKS_SIGMAS)
    return IkTasks({n: (mean / s) ** 2 for n, s in simspine.OKS_SIGMAS.items()})
