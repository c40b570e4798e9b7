"""One set of detections a person: synthetic people, and a real OpenPose capture."""

from pathlib import Path

import numpy as np
import pytest

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.association import AssociationOptions
from simspine_jax.cameras.triangulation import triangulate
from simspine_jax.fitting.people import (
    associate,
    associate_with_report,
    main_person,
)
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.io.people import People2D
from simspine_jax.skeletons import body_25b
from simspine_jax.types import CameraRig, Detections2D
from tests import captures

THIGH_M, THIGH_ATOL_M, THIGH_SD_M = 0.42, 0.03, 0.03
FRAMES, KEYPOINTS = 20, 6


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    return h36m_rig("S1")


@pytest.fixture(scope="module")
def real(pose2sim_08: Path) -> tuple[CameraRig, People2D]:
    return captures.balancing(pose2sim_08)


def two_people(rig: CameraRig) -> tuple[People2D, np.ndarray]:
    """Person 0 in all frames, 1 in the first half; slots swap in odd views."""
    rng = np.random.default_rng(0)
    body = rng.uniform([-0.3, -0.3, 0.1], [0.3, 0.3, 1.7], (2, KEYPOINTS, 3))
    body += np.array([[[0.7, 0.5, 0.0]], [[-0.7, -0.4, 0.0]]])
    points = np.tile(body, (FRAMES, 1, 1, 1))
    pixels = np.swapaxes(np.asarray(pinhole.project(rig, points)), 1, 2)
    confidence = np.full(pixels.shape[:-1], 0.8)
    confidence[FRAMES // 2 :, :, 1] = 0.0
    pixels = np.where(confidence[..., None] > 0, pixels, 0.0)
    truth = pixels.copy()
    pixels[:, 1::2], confidence[:, 1::2] = (
        pixels[:, 1::2, ::-1],
        confidence[:, 1::2, ::-1],
    )
    return people_of(rig, pixels, confidence), truth


def people_of(rig: CameraRig, pixels: np.ndarray, confidence: np.ndarray) -> People2D:
    names = tuple(f"k{k}" for k in range(pixels.shape[3]))
    return People2D(
        points=pixels,
        confidence=confidence,
        keypoint_names=names,
        rate_hz=50.0,
        frame_numbers=tuple(range(len(pixels))),
        camera_names=rig.names,
    )


def shuffled(people: People2D, seed: int) -> People2D:
    """Puts the detections of each view and frame in another order."""
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.uniform(size=people.points.shape[:3]), axis=2)
    return people.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=np.take_along_axis(people.points, order[..., None, None], axis=2),
        confidence=np.take_along_axis(people.confidence, order[..., None], axis=2),
    )


def first_of_each_view(people: People2D) -> Detections2D:
    return Detections2D(
        people.points[:, :, 0],
        people.confidence[:, :, 0],
        people.keypoint_names,
        people.rate_hz,
    )


def test_each_person_has_their_detections(rig):
    people, truth = two_people(rig)
    found, report = associate_with_report(rig, people)
    assert [d.points.shape for d in found] == [(FRAMES, 4, KEYPOINTS, 2)] * 2
    for n, detections in enumerate(found):
        np.testing.assert_array_equal(detections.points, truth[:, :, n])
        assert detections.keypoint_names == people.keypoint_names
        assert detections.rate_hz == 50.0
    assert report.frames_seen == (FRAMES, FRAMES // 2)
    assert (report.people, report.frames) == (2, FRAMES)
    assert (report.detections, report.left_out) == (4 * (FRAMES + FRAMES // 2), 0)
    assert "people found: 2" in str(report)
    assert f"{FRAMES}, {FRAMES // 2} of {FRAMES}" in str(report)
    main = main_person(rig, people)
    np.testing.assert_array_equal(main.points, found[0].points)
    np.testing.assert_array_equal(main.confidence, found[0].confidence)


def test_nobody_is_found(rig):
    people, _ = two_people(rig)
    confidence = np.array(people.confidence)
    confidence[:, 1:] = 0.0
    alone = people_of(rig, np.asarray(people.points), confidence)
    found, report = associate_with_report(rig, alone)
    assert found == []
    assert report.left_out == report.detections == FRAMES + FRAMES // 2
    with pytest.raises(ValueError, match="no person is seen by two cameras"):
        main_person(rig, alone)
    strict = AssociationOptions(min_keypoints=KEYPOINTS + 1)
    assert associate(rig, people, strict) == []


def test_cameras_in_another_order_are_refused(rig):
    people, _ = two_people(rig)
    turned = people.replace(camera_names=rig.names[::-1])  # pyright: ignore
    with pytest.raises(ValueError, match="the detections are of the cameras"):
        main_person(rig, turned)


def test_the_main_person_of_a_real_capture(real):
    rig, people = real
    main = main_person(rig, people)
    # In this trial OpenPose wrote that person first in every file.
    first = first_of_each_view(people)
    np.testing.assert_array_equal(main.points, first.points)
    np.testing.assert_array_equal(main.confidence, first.confidence)
    found, report = associate_with_report(rig, people)
    assert len(found) >= 1
    assert report.frames_seen[0] == report.frames == 100
    solved = triangulate(rig, main)
    assert np.mean(solved.valid) > 0.99
    names = body_25b.NAMES
    for side in "LR":
        hip, knee = names.index(f"{side}Hip"), names.index(f"{side}Knee")
        both = solved.valid[:, hip] & solved.valid[:, knee]
        assert np.mean(both) > 0.98
        thigh = np.linalg.norm(solved.points[:, hip] - solved.points[:, knee], axis=-1)
        assert abs(thigh[both].mean() - THIGH_M) < THIGH_ATOL_M
        assert thigh[both].std() < THIGH_SD_M
        assert np.mean(abs(thigh[both] - THIGH_M) < THIGH_ATOL_M) > 0.9


def test_a_shuffled_real_capture_gives_the_same_person(real):
    rig, people = real
    mixed = shuffled(people, seed=0)
    main = main_person(rig, mixed)
    np.testing.assert_array_equal(main.points, main_person(rig, people).points)
    errors = []
    for detections in (main, first_of_each_view(mixed)):
        solved = triangulate(rig, detections)
        seen = solved.valid[:, None] & (np.asarray(detections.confidence) > 0)
        errors.append(float(np.mean(solved.reprojection_error[seen])))
    assert errors[0] < 20.0
    assert errors[0] < 0.5 * errors[1]
