"""Keypoints of the COCO data set.

Names are those of SIMSPINE's keypoints, so that detections are matched by name.

Source: the order in the categories of COCO's person keypoint annotations.
"""

NAMES = (
    *("Nose", "LEye", "REye", "LEar", "REar"),
    *("LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist"),
    *("LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle"),
)

LINKS = (
    *(("Nose", "LEye"), ("Nose", "REye"), ("LEye", "LEar"), ("REye", "REar")),
    *(("LEar", "LShoulder"), ("REar", "RShoulder"), ("LShoulder", "RShoulder")),
    *(("LShoulder", "LElbow"), ("LElbow", "LWrist")),
    *(("RShoulder", "RElbow"), ("RElbow", "RWrist")),
    *(("LShoulder", "LHip"), ("RShoulder", "RHip"), ("LHip", "RHip")),
    *(("LHip", "LKnee"), ("LKnee", "LAnkle")),
    *(("RHip", "RKnee"), ("RKnee", "RAnkle")),
)

# Left and right of each pair.
PAIRS = tuple((name, f"R{name[1:]}") for name in NAMES if name.startswith("L"))
