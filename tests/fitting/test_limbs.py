from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.model import Model
from simspine_jax.fitting import ik_prepare, limbs
from simspine_jax.io.load import load_model


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    return load_model(
        pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    )


def named_blocks(model: Model) -> tuple[list[set[str]], list[set[str]]]:
    """Unknowns and markers of the trunk, then those of each limb."""
    topology = model.topology
    columns = limbs.movable_columns(topology)
    block, marker_block, count = limbs.limb_blocks(topology, columns)
    free = model.free_coordinate_names
    unknowns = [
        {free[c] for c, b in zip(columns, block, strict=True) if b == k}
        for k in range(count)
    ]
    markers = [
        {m for m, b in zip(model.marker_names, marker_block, strict=True) if b == k}
        for k in range(count)
    ]
    return unknowns, markers


def test_limbs_of_the_whole_body(model: Model):
    unknowns, markers = named_blocks(model)
    by_limb = {
        min(names & {"RHeel", "LHeel", "RWrist", "LWrist", "Nose"}, default="trunk"): k
        for k, names in enumerate(markers)
    }
    assert set(by_limb) == {"trunk", "RHeel", "LHeel", "RWrist", "LWrist", "Nose"}
    assert by_limb["trunk"] == limbs.TRUNK
    for side, other in ("r", "R"), ("l", "L"):
        leg, arm = by_limb[f"{other}Heel"], by_limb[f"{other}Wrist"]
        assert {f"hip_flexion_{side}", f"knee_angle_{side}"} <= unknowns[leg]
        assert {f"arm_flex_{side}", f"elbow_flex_{side}"} <= unknowns[arm]
        assert all(name.endswith(f"_{side}") for name in unknowns[leg] | unknowns[arm])
        assert {f"{other}Knee", f"{other}Ankle", f"{other}BigToe"} <= markers[leg]
        assert {f"{other}Elbow", f"{other}Wrist"} <= markers[arm]
        # The shoulder is on the torso: it moves with the trunk.
        assert f"{other}Shoulder" in markers[limbs.TRUNK]
    trunk = {"pelvis_tx", "pelvis_tilt", "L5_S1_Flex_Ext", "L5_S1_axial_rotation"}
    assert trunk <= unknowns[limbs.TRUNK]
    # Every marker and unknown has one block.
    assert sum(map(len, markers)) == len(model.marker_names)
    assert sum(map(len, unknowns)) == len(limbs.movable_columns(model.topology))


def test_a_limb_moves_its_own_markers_only(model: Model):
    from simspine_jax.body.jacobian import marker_jacobian

    columns = limbs.movable_columns(model.topology)
    block, marker_block, count = limbs.limb_blocks(model.topology, columns)
    q = np.random.default_rng(0).uniform(-0.3, 0.3, len(model.topology.free))
    moved = np.abs(np.asarray(marker_jacobian(model, q))).max(axis=1)[:, columns]
    for k in range(1, count):
        touched = (moved[:, block == k] > 1e-12).any(axis=1)
        assert touched.any()
        assert (marker_block[touched] == k).all()


def test_what_no_marker_sees_is_no_unknown(model: Model):
    all_markers = limbs.movable_columns(model.topology)
    names = {model.free_coordinate_names[c] for c in all_markers}
    assert not names & {"wrist_flex_r", "wrist_dev_l"}  # no marker on the hands
    feet = ik_prepare.select_markers(model, ("RHeel", "RBigToe"))
    names = {
        model.free_coordinate_names[c] for c in limbs.movable_columns(feet.topology)
    }
    assert "knee_angle_r" in names
    assert not any(name.endswith("_l") or "L5_S1" in name for name in names)
    # A task brings its coordinate back.
    at = model.free_coordinate_names.index("knee_angle_l")
    assert at in limbs.movable_columns(feet.topology, (at,))
