"""Cameras of another subject are told by cameras that fit better."""

import numpy as np
import pytest

from simspine_jax.cameras import pinhole, rig_check
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import Detections2D


@pytest.fixture(scope="module")
def seen():
    """A cloud of points as S1's cameras see it, with a px of noise."""
    rng = np.random.default_rng(3)
    points = rng.normal(0, 0.4, (60, 12, 3)) + [0, 0, 1.0]
    pixels = np.asarray(pinhole.project(h36m_rig("S1"), points))
    noisy = pixels + rng.normal(0, 1.0, pixels.shape)
    return Detections2D(
        noisy, np.ones(noisy.shape[:3]), tuple(f"p{k}" for k in range(12)), 50.0
    )


@pytest.fixture(scope="module")
def rigs():
    return {name: h36m_rig(name) for name in ("S1", "S8", "S9")}


def test_the_own_cameras_fit_best(seen, rigs):
    check = rig_check.check_rig(rigs, "S1", seen)
    assert check.better is None
    assert check.error_px["S1"] < 2 < min(check.error_px["S8"], check.error_px["S9"])


def test_cameras_that_fit_much_better_are_named(seen, rigs):
    assert rig_check.check_rig(rigs, "S8", seen).better == "S1"
    alone = {name: rigs[name] for name in ("S8", "S9")}
    assert rig_check.check_rig(alone, "S8", seen).better in (None, "S9")


def test_rigs_of_another_number_of_cameras_are_passed_over(seen, rigs):
    few = rigs["S1"].replace(
        names=rigs["S1"].names[:2],
        **{
            name: np.asarray(getattr(rigs["S1"], name))[:2]
            for name in (
                *("matrix", "distortion", "rotation", "translation", "image_size"),
            )
        },
    )
    check = rig_check.check_rig({"S8": rigs["S8"], "two": few}, "S8", seen)
    assert tuple(check.error_px) == ("S8",)


def test_an_unknown_rig_is_refused(seen, rigs):
    with pytest.raises(ValueError, match="there is no rig 'S2'; there are S1, S8, S9"):
        rig_check.check_rig(rigs, "S2", seen)
