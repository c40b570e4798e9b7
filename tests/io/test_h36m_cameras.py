import cv2
import numpy as np
import pytest

from simspine_jax.io import h36m_cameras
from simspine_jax.io.h36m_cameras import h36m_rig


@pytest.mark.parametrize("subject", h36m_cameras.SUBJECTS)
def test_rigs_look_at_the_room_from_its_corners(subject: str):
    rig = h36m_rig(subject)
    assert rig.names == ("54138969", "55011271", "58860488", "60457274")
    assert rig.fisheye == ()
    assert rig.image_size.tolist() == [
        [1000, 1002],
        [1000, 1000],
        [1000, 1000],
        [1000, 1002],
    ]
    assert rig.distortion.shape == (4, 5)
    middle = np.array([[0.2, 0.3, 1.0]])
    for camera in range(4):
        rotation, shift = rig.rotation[camera], rig.translation[camera]
        centre = -rotation.T @ shift
        assert 1.3 < centre[2] < 1.8
        assert 1.3 < abs(centre[0]) < 2.4
        assert 3.5 < abs(centre[1]) < 5.4
        # A pixel's row grows downward, and the world's Z is up.
        assert (rotation @ [0, 0, 1])[1] < -0.9
        pixel = cv2.projectPoints(
            middle,
            cv2.Rodrigues(rotation)[0],
            shift,
            rig.matrix[camera],
            rig.distortion[camera],
        )[0].ravel()
        assert (np.abs(pixel - 500) < 250).all()


def test_projection_is_that_of_the_published_numbers():
    # The published rotation and translation of S1's first camera, mm.
    rotation = np.array(
        [
            [-0.9153617321513369, 0.40180836633680234, 0.02574754463350265],
            [0.051548117060134555, 0.1803735689384521, -0.9822464900705729],
            [-0.399319034032262, -0.8977836111057917, -0.185819527201491],
        ]
    )
    shift_mm = np.array([-346.05078140028075, 546.9807793144001, 5474.481087434061])
    matrix = np.array(
        [[1145.04940458804, 0, 512.541504956548], [0, 1143.78109572365, 515.4514869776]]
    )
    matrix = np.vstack([matrix, [0, 0, 1]])
    distortion = np.array(
        [
            *(-0.207098910824901, 0.247775183068982),
            *(-0.00142447157470321, -0.000975698859470499, -0.00307515035078854),
        ]
    )
    world_m = np.random.default_rng(0).uniform(-0.9, 0.9, (30, 3)) + [0, 0, 1]
    published = cv2.projectPoints(
        1000 * world_m, cv2.Rodrigues(rotation)[0], shift_mm, matrix, distortion
    )[0]
    rig = h36m_rig("S1")
    ours = cv2.projectPoints(
        world_m,
        cv2.Rodrigues(rig.rotation[0])[0],
        rig.translation[0],
        rig.matrix[0],
        rig.distortion[0],
    )[0]
    np.testing.assert_allclose(ours, published, atol=1e-6)


def test_unknown_subject():
    with pytest.raises(ValueError, match="no subject 'S12'; it has S1, S2"):
        h36m_rig("S12")
