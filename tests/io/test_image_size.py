import warnings

import numpy as np
import pytest

from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.io.image_size import require_image_size

RIG = h36m_rig("S1")
PORTRAIT = RIG.replace(image_size=RIG.image_size * [1, 2])


@pytest.mark.parametrize("size", [(1000, 1000), (990, 1000), (1000, 1020)])
def test_sizes_that_pass(size: tuple[int, int]):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        require_image_size(RIG, "55011271", *size)
    assert len(caught) == (size != (1000, 1000))
    if caught:
        message = str(caught[0].message)
        assert f"{size[0]} x {size[1]}" in message
        assert "'55011271'" in message
        assert "1000 x 1000" in message


@pytest.mark.parametrize("size", [(979, 1000), (500, 500), (1000, 1021)])
def test_sizes_that_do_not(size: tuple[int, int]):
    with pytest.raises(ValueError, match=rf"'55011271'.*{size[0]} x {size[1]}.*2%"):
        require_image_size(RIG, "55011271", *size)


def test_a_turned_image():
    with pytest.raises(ValueError, match="2000 x 1000 .* 1000 x 2000; .*turned"):
        require_image_size(PORTRAIT, "55011271", 2000, 1000)


def test_an_unknown_camera():
    with pytest.raises(ValueError, match="no camera 'x'"):
        require_image_size(RIG, "x", 1, 1)


def test_a_nearly_square_image_is_not_taken_for_turned():
    rig = RIG.replace(image_size=np.tile([1000, 1002], (len(RIG.names), 1)))
    with pytest.warns(UserWarning, match="1001 x 1001"):
        require_image_size(rig, "55011271", 1001, 1001)
    with pytest.raises(ValueError, match="1030 x 1002 .* more than 2%"):
        require_image_size(rig, "55011271", 1030, 1002)
