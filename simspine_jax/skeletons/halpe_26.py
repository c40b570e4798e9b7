"""Keypoints of Halpe-26: COCO's 17, head, neck, hip and feet.

Names are those of SIMSPINE's keypoints, so that detections are matched by name. They
are the first 26 of SpineTrack's.

Source: the keypoint order in the documentation of the Halpe full-body data set.
"""

from simspine_jax.skeletons import coco_17

NAMES = (
    *coco_17.NAMES,
    *("Head", "Neck", "Hip"),
    *("LBigToe", "RBigToe", "LSmallToe", "RSmallToe", "LHeel", "RHeel"),
)

LINKS = (
    *(("Nose", "LEye"), ("Nose", "REye"), ("LEye", "LEar"), ("REye", "REar")),
    *(("Nose", "Head"), ("Head", "Neck")),
    *(("Neck", "LShoulder"), ("Neck", "RShoulder")),
    *(("LShoulder", "LElbow"), ("LElbow", "LWrist")),
    *(("RShoulder", "RElbow"), ("RElbow", "RWrist")),
    *(("Neck", "Hip"), ("Hip", "LHip"), ("Hip", "RHip")),
    *(("LHip", "LKnee"), ("LKnee", "LAnkle")),
    *(("RHip", "RKnee"), ("RKnee", "RAnkle")),
    *(("LAnkle", "LHeel"), ("LAnkle", "LBigToe"), ("LBigToe", "LSmallToe")),
    *(("RAnkle", "RHeel"), ("RAnkle", "RBigToe"), ("RBigToe", "RSmallToe")),
)

# Left and right of each pair.
PAIRS = tuple((name, f"R{name[1:]}") for name in NAMES if name.startswith("L"))
