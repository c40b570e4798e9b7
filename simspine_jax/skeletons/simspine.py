"""Keypoints of the SIMSPINE data set: 37 of the body, 15 of them along the spine.

Source: the order of the data set's HDF5 files and of its 15-point training set.
"""

NAMES = (
    "Hip",
    "Spine_01",
    "Spine_02",
    "Spine_03",
    "Spine_04",
    "Spine_05",
    "Neck",
    "Neck_02",
    "Neck_03",
    "Head",
    "Nose",
    "REye",
    "LEye",
    "REar",
    "LEar",
    "RLatissimus",
    "LLatissimus",
    "RClavicle",
    "RShoulder",
    "RElbow",
    "RWrist",
    "LClavicle",
    "LShoulder",
    "LElbow",
    "LWrist",
    "RHip",
    "RKnee",
    "RAnkle",
    "RBigToe",
    "RSmallToe",
    "RHeel",
    "LHip",
    "LKnee",
    "LAnkle",
    "LBigToe",
    "LSmallToe",
    "LHeel",
)

# Spine keypoints and the keypoint each hangs from.
SPINE_PARENTS = {
    "Hip": None,
    "Spine_01": "Hip",
    "Spine_02": "Spine_01",
    "Spine_03": "Spine_02",
    "Spine_04": "Spine_03",
    "Spine_05": "Spine_04",
    "Neck": "Spine_05",
    "Neck_02": "Neck",
    "Neck_03": "Neck_02",
    "Head": "Neck_03",
    "Nose": "Head",
    "LClavicle": "Spine_05",
    "RClavicle": "Spine_05",
    "LLatissimus": "Spine_04",
    "RLatissimus": "Spine_04",
}

SPINE_NAMES = tuple(SPINE_PARENTS)
SPINE_LINKS = tuple((p, n) for n, p in SPINE_PARENTS.items() if p is not None)
# The column itself, from the sacrum to the top of the skull.
SPINE_CHAIN = SPINE_NAMES[: SPINE_NAMES.index("Head") + 1]

# Falloff of each keypoint in object keypoint similarity, which is how far annotators
# disagree on it, as a share of the person's size. Source: SpinePose's table.
OKS_SIGMAS: dict[str, float] = {
    "Hip": 0.07,
    **dict.fromkeys(("Spine_01", "Spine_02", "Spine_03"), 0.1),
    **dict.fromkeys(("Spine_04", "Spine_05"), 0.08),
    "Neck": 0.04,
    "Neck_02": 0.07,
    "Neck_03": 0.06,
    **dict.fromkeys(("Head", "Nose"), 0.026),
    **dict.fromkeys(("REye", "LEye"), 0.025),
    **dict.fromkeys(("REar", "LEar"), 0.035),
    **dict.fromkeys(("RLatissimus", "LLatissimus"), 0.12),
    **dict.fromkeys(("RClavicle", "LClavicle"), 0.07),
    **dict.fromkeys(("RShoulder", "LShoulder"), 0.079),
    **dict.fromkeys(("RElbow", "LElbow"), 0.072),
    **dict.fromkeys(("RWrist", "LWrist"), 0.062),
    **dict.fromkeys(("RHip", "LHip"), 0.107),
    **dict.fromkeys(("RKnee", "LKnee"), 0.087),
    **dict.fromkeys(("RAnkle", "LAnkle"), 0.089),
    **dict.fromkeys(("RBigToe", "LBigToe", "RSmallToe", "LSmallToe"), 0.079),
    **dict.fromkeys(("RHeel", "LHeel"), 0.079),
}
