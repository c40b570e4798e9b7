"""Keypoints of OpenPose's BODY_25B model: COCO's 17, neck, head and feet.

Names are those of SIMSPINE's keypoints, so that detections are matched by name. Neck
is what OpenPose calls the upper neck, and Head the top of the head. There is no
keypoint between the hips.

Source: the order of the BODY_25B output of OpenPose's experimental models.
"""

NAMES = (
    *("Nose", "LEye", "REye", "LEar", "REar"),
    *("LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist"),
    *("LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle"),
    *("Neck", "Head"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)

LINKS = (
    *(("Nose", "LEye"), ("Nose", "REye"), ("LEye", "LEar"), ("REye", "REar")),
    *(("Nose", "Head"), ("Head", "Neck")),
    *(("Neck", "LShoulder"), ("Neck", "RShoulder")),
    *(("LShoulder", "LElbow"), ("LElbow", "LWrist")),
    *(("RShoulder", "RElbow"), ("RElbow", "RWrist")),
    *(("LShoulder", "LHip"), ("RShoulder", "RHip"), ("LHip", "RHip")),
    *(("LHip", "LKnee"), ("LKnee", "LAnkle")),
    *(("RHip", "RKnee"), ("RKnee", "RAnkle")),
    *(("LAnkle", "LHeel"), ("LAnkle", "LBigToe"), ("LBigToe", "LSmallToe")),
    *(("RAnkle", "RHeel"), ("RAnkle", "RBigToe"), ("RBigToe", "RSmallToe")),
)

# Left and right of each pair.
PAIRS = tuple((name, f"R{name[1:]}") for name in NAMES if name.startswith("L"))
