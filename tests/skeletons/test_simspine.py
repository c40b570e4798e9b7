from simspine_jax.skeletons import simspine, simspine_markers, spinetrack37


def test_names_are_those_of_the_data_set():
    assert len(simspine.NAMES) == len(set(simspine.NAMES)) == 37
    assert len(simspine.SPINE_NAMES) == 15
    assert set(simspine.SPINE_NAMES) <= set(simspine.NAMES)
    assert set(simspine.SPINE_NAMES) <= set(simspine_markers.MARKERS)


def test_every_spine_keypoint_hangs_below_the_hip():
    for name in simspine.SPINE_NAMES:
        chain = [name]
        while (parent := simspine.SPINE_PARENTS[chain[-1]]) is not None:
            chain.append(parent)
            assert len(chain) <= 15
        assert chain[-1] == "Hip"
    assert len(simspine.SPINE_LINKS) == 14
    assert simspine.SPINE_CHAIN[0] == "Hip"
    assert len(simspine.SPINE_CHAIN) == 10
    assert simspine.SPINE_CHAIN[-1] == "Head"


def test_spinetrack_order_is_the_published_one():
    # The data set's row order, as ids of the detector's keypoints.
    assert len(set(spinetrack37.NAMES)) == 37
    published = (
        *(19, 26, 27, 28, 29, 30, 18, 35, 36, 17, 0, 2, 1, 4, 3, 32, 31, 34),
        *(6, 8, 10, 33, 5, 7, 9, 12, 14, 16, 21, 23, 25, 11, 13, 15, 20, 22, 24),
    )
    assert published == spinetrack37.SIMSPINE_ORDER
