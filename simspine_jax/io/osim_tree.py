"""The shape of an OpenSim model: every body hangs from the ground exactly once."""

from simspine_jax.body.spec import GROUND, JointSpec
from simspine_jax.io.osim_xml import Document


def check_tree(
    document: Document, bodies: tuple[str, ...], joints: tuple[JointSpec, ...]
) -> None:
    """Raises unless the joints hang every body from the ground exactly once.

    Args:
        document: The document, for messages.
        bodies: Body names, ground not among them.
        joints: The joints.

    Raises:
        OsimError: Naming the joint or body that makes it something else.
    """
    joint_of: dict[str, JointSpec] = {}
    for joint in joints:
        place = f"{joint.kind} '{joint.name}'"
        if joint.parent == joint.child:
            raise document.error(f"{place} connects '{joint.child}' to itself.")
        if joint.child == GROUND:
            raise document.error(
                f"{place} has the ground as its child, which is not supported; swap "
                "its parent and child frames."
            )
        if joint.child in joint_of:
            raise document.error(
                f"body '{joint.child}' is the child of two joints, "
                f"'{joint_of[joint.child].name}' and '{joint.name}'; loops are not "
                "supported."
            )
        joint_of[joint.child] = joint
    for body in bodies:
        if body not in joint_of:
            raise document.error(
                f"body '{body}' is not the child of any joint; add one, such as a "
                "FreeJoint from the ground."
            )
    rooted = {GROUND}
    for start in bodies:
        walked: list[str] = []
        body = start
        while body not in rooted and body not in walked:
            walked.append(body)
            body = joint_of[body].parent
        if body not in rooted:
            joint = joint_of[body]
            raise document.error(
                f"body '{body}' hangs from itself through {joint.kind} "
                f"'{joint.name}'; loops are not supported."
            )
        rooted.update(walked)
