"""Keypoints of OpenPose's BODY_25 model, its default.

Names are those of SIMSPINE's keypoints where the two are the same point, so that
detections are matched by name. MidHip is the middle of the hips.

Source: the keypoint order in OpenPose's documentation of its output.
"""

NAMES = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist"),
    *("MidHip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle"),
    *("REye", "LEye", "REar", "LEar"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)

LINKS = (
    *(("Nose", "LEye"), ("Nose", "REye"), ("LEye", "LEar"), ("REye", "REar")),
    *(("Nose", "Neck"), ("Neck", "LShoulder"), ("Neck", "RShoulder")),
    *(("LShoulder", "LElbow"), ("LElbow", "LWrist")),
    *(("RShoulder", "RElbow"), ("RElbow", "RWrist")),
    *(("Neck", "MidHip"), ("MidHip", "LHip"), ("MidHip", "RHip")),
    *(("LHip", "LKnee"), ("LKnee", "LAnkle")),
    *(("RHip", "RKnee"), ("RKnee", "RAnkle")),
    *(("LAnkle", "LHeel"), ("LAnkle", "LBigToe"), ("LBigToe", "LSmallToe")),
    *(("RAnkle", "RHeel"), ("RAnkle", "RBigToe"), ("RBigToe", "RSmallToe")),
)

# Left and right of each pair.
PAIRS = tuple((name, f"R{name[1:]}") for name in NAMES if name.startswith("L"))
