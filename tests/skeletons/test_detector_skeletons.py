"""Keypoint orders of detectors."""

import pytest

from simspine_jax.skeletons import (
    body_25,
    body_25b,
    coco_17,
    halpe_26,
    simspine,
    spinetrack37,
)

DETECTORS = [
    pytest.param(body_25, 25, id="body_25"),
    pytest.param(body_25b, 25, id="body_25b"),
    pytest.param(coco_17, 17, id="coco_17"),
    pytest.param(halpe_26, 26, id="halpe_26"),
]


@pytest.mark.parametrize(("skeleton", "count"), DETECTORS)
def test_names_are_unique_and_known(skeleton, count):
    assert len(skeleton.NAMES) == len(set(skeleton.NAMES)) == count
    assert set(skeleton.NAMES) - set(simspine.NAMES) <= {"MidHip"}


@pytest.mark.parametrize(("skeleton", "count"), DETECTORS)
def test_links_join_all_keypoints_once(skeleton, count):
    assert {name for link in skeleton.LINKS for name in link} == set(skeleton.NAMES)
    assert len({frozenset(link) for link in skeleton.LINKS}) == len(skeleton.LINKS)
    reached = {skeleton.NAMES[0]}
    for _ in range(count):
        reached |= {
            name for link in skeleton.LINKS if reached & set(link) for name in link
        }
    assert reached == set(skeleton.NAMES)


@pytest.mark.parametrize(("skeleton", "count"), DETECTORS)
def test_pairs_hold_all_that_has_a_side(skeleton, count):
    paired = {name for pair in skeleton.PAIRS for name in pair}
    assert len(paired) == 2 * len(skeleton.PAIRS)
    assert paired <= set(skeleton.NAMES)
    unpaired = set(skeleton.NAMES) - paired
    assert unpaired <= {"Nose", "Neck", "Head", "Hip", "MidHip"}


def test_halpe_is_the_start_of_spinetrack():
    names = tuple(spinetrack37.simspine_name(name) for name in spinetrack37.NAMES)
    assert names[:26] == halpe_26.NAMES


def test_body_25b_orders_its_feet_by_side():
    names = ("Neck", "Head", "LBigToe", "LHeel", "RBigToe", "RHeel")
    ids = tuple(body_25b.NAMES.index(name) for name in names)
    assert ids == (17, 18, 19, 21, 22, 24)
    assert body_25b.NAMES[:17] == coco_17.NAMES
