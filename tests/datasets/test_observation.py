import cv2
import jax
import numpy as np
import pytest

from simspine_jax.datasets import observation
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.skeletons import simspine

_KEY = jax.random.key(1)
_QUIET = dict(
    scatter_m=0.0, drift_m=0.0, hidden_factor=1.0, hidden_lost=0.0, lost=0.0, wrong=0.0
)


def _standing(frames: int = 1) -> np.ndarray:
    """A stick figure at the origin that looks along world X; Z is up. [T, 37, 3]."""
    y = {"L": 0.2, "R": -0.2}
    place = {
        "Hip": (-0.1, 0, 0.95),
        **{f"Spine_0{i}": (-0.12, 0, 0.95 + 0.1 * i) for i in range(1, 6)},
        "Neck": (-0.08, 0, 1.5),
        "Neck_02": (-0.06, 0, 1.54),
        "Neck_03": (-0.04, 0, 1.58),
        "Head": (0.0, 0, 1.75),
        "Nose": (0.12, 0, 1.62),
    }
    for side, lateral in y.items():
        half = lateral / 2
        place |= {
            f"{side}Eye": (0.1, 0.15 * lateral, 1.66),
            f"{side}Ear": (0.0, 0.35 * lateral, 1.64),
            f"{side}Latissimus": (-0.1, half, 1.25),
            f"{side}Clavicle": (0.02, half / 4, 1.45),
            f"{side}Shoulder": (0.0, lateral, 1.42),
            f"{side}Elbow": (0.0, 1.5 * lateral, 1.15),
            f"{side}Wrist": (0.05, 1.6 * lateral, 0.9),
            f"{side}Hip": (0.0, half, 0.9),
            f"{side}Knee": (0.0, half, 0.5),
            f"{side}Ankle": (0.0, half, 0.1),
            f"{side}BigToe": (0.2, half, 0.03),
            f"{side}SmallToe": (0.15, 1.2 * half, 0.03),
            f"{side}Heel": (-0.05, half, 0.03),
        }
    points = np.array([place[name] for name in simspine.NAMES])
    return np.tile(points, (frames, 1, 1))


def _at(rig, frames: int, **changed: object) -> observation.Observed:
    noise = observation.NoiseModel(**{**_QUIET, **changed})
    seen = observation.observe(rig, _standing(frames), _KEY, 50.0, noise)
    return jax.tree.map(np.asarray, seen)


def _exact(rig) -> np.ndarray:
    views = [
        cv2.projectPoints(_standing()[0], cv2.Rodrigues(r)[0], t, m, d)[0][:, 0]
        for r, t, m, d in zip(
            rig.rotation, rig.translation, rig.matrix, rig.distortion, strict=True
        )
    ]
    return np.stack(views)  # [C, K, 2]


def _pixels_a_metre(rig) -> np.ndarray:
    depth = np.einsum("cj,kj->ck", rig.rotation[:, 2], _standing()[0])
    return rig.matrix[:, :1, 0] / (depth + rig.translation[:, 2:])


@pytest.fixture(scope="module")
def rig():
    return h36m_rig("S1")


def test_without_noise_pixels_are_opencvs(rig):
    seen = observation.observe(rig, _standing(), _KEY, 50.0, observation.EXACT)
    np.testing.assert_allclose(seen.pixels[0], _exact(rig), atol=1e-6)
    assert (np.asarray(seen.confidence) > 0).all()


def test_scatter_has_the_stated_size(rig):
    seen = _at(rig, 4000, scatter_m=0.01)
    sigma = np.array([simspine.OKS_SIGMAS[name] for name in simspine.NAMES])
    want = 0.01 * _pixels_a_metre(rig) * sigma / sigma.mean()
    off = seen.pixels - _exact(rig)
    ratio = off.std(axis=0) / want[..., None]
    # SD of an SD from 4000 draws is 1.1 %; 296 of them.
    assert np.abs(ratio - 1).max() < 0.05
    assert np.abs(ratio.mean() - 1) < 0.005


def test_drift_has_the_stated_correlation(rig):
    seen = _at(rig, 4000, drift_m=0.01, drift_s=0.2)
    off = seen.pixels - _exact(rig)
    off = off / off.std(axis=0)
    for frames in (1, 5, 10):
        found = (off[frames:] * off[:-frames]).mean()
        assert abs(found - np.exp(-frames / (50.0 * 0.2))) < 0.03


def test_the_body_hides_what_is_behind_it(rig):
    # Turned so that each camera once sees the figure from the front.
    eye = -np.einsum("cji,cj->ci", rig.rotation, rig.translation)
    for c, (x, y, _) in enumerate(eye):
        for turn, hides in ((0.0, True), (np.pi, False)):
            angle = np.arctan2(y, x) + turn
            cos, sin = np.cos(angle), np.sin(angle)
            about = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
            hidden = np.asarray(observation.hidden_by_body(rig, _standing() @ about.T))[
                0, c
            ]
            at = lambda name, hidden=hidden: hidden[simspine.NAMES.index(name)]
            for name in ("Spine_02", "Spine_03", "Spine_04"):
                assert at(name) == hides  # from the front the trunk is before it
            assert at("Nose") != hides
            for name in ("LShoulder", "RShoulder", "LKnee", "RKnee", "LWrist"):
                assert not at(name)


def test_hidden_points_are_lost_and_less_sure(rig):
    seen = _at(rig, 4000, scatter_m=0.01, hidden_lost=0.4, hidden_factor=2.0, lost=0.1)
    lost = seen.confidence == 0
    assert abs(lost[seen.hidden].mean() - 0.4) < 0.01
    assert abs(lost[~seen.hidden].mean() - 0.1) < 0.01
    hidden, clear = (
        seen.confidence[which & ~lost].mean() for which in (seen.hidden, ~seen.hidden)
    )
    assert abs(hidden / clear - 0.5) < 0.01
    assert (seen.pixels[lost] == 0).all()


def test_wrong_points_are_as_far_off_as_stated(rig):
    seen = _at(rig, 4000, wrong=0.05, wrong_px=(30.0, 60.0))
    off = np.linalg.norm(seen.pixels - _exact(rig), axis=-1)[seen.confidence > 0]
    far = off > 1e-6
    assert abs(far.mean() - 0.05) < 0.003
    assert (off[far] > 29.999).all()
    assert (off[far] < 60.001).all()


def test_nothing_is_seen_outside_the_image_or_behind_the_camera(rig):
    aside = _standing() + [[[3.0, 0.0, 0.0]]]
    seen = observation.observe(rig, aside, _KEY, 50.0, observation.EXACT)
    pixels, kept = np.asarray(seen.pixels), np.asarray(seen.confidence) > 0
    assert 0 < kept.mean() < 1
    inside = (pixels >= -0.5) & (pixels < rig.image_size[:, None] - 0.5)
    assert inside.all(axis=-1)[kept].all()
    behind = _standing() + [[[0.0, 30.0, 0.0]]]
    seen = observation.observe(rig, behind, _KEY, 50.0, observation.EXACT)
    depth = np.einsum("cj,kj->ck", rig.rotation[:, 2], behind[0])
    depth = depth + rig.translation[:, 2:]
    assert (depth < 0).any()
    assert not (np.asarray(seen.confidence)[0][depth < 0] > 0).any()


def test_the_same_key_sees_the_same(rig):
    noise = observation.NoiseModel()
    one, again, other = (
        observation.observe(rig, _standing(), key, 50.0, noise).pixels
        for key in (_KEY, _KEY, jax.random.key(2))
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
