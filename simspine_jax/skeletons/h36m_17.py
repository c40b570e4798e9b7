"""Joints of Human3.6M: the 17 that are in common use, and SIMSPINE's names of them.

``NAMES`` are the joints' own names, which differ from SIMSPINE's: "Thorax" is at the
base of the neck and "Neck/Nose" in front of the head. ``SIMSPINE_NAMES`` maps them by
name, so that no order is trusted.

Source: the 32 joints of Human3.6M's skeleton (Ionescu et al. 2014), of which 17 move on
their own; the 16 that SIMSPINE's released merge takes (all but the top of the head).
"""

NAMES = (
    *("Hip", "RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot"),
    *("Spine", "Thorax", "Neck/Nose", "Head"),
    *("LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist"),
)

# Place of each among the 32 joints of the files.
OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)

# The order that SIMSPINE's merge expects in a file of 16 joints, in its own words.
NAMES_16 = (
    *("Hip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle"),
    *("Spine", "Neck", "Nose"),
    *("LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist"),
)

# Joint between pelvis and neck, and the keypoint of SIMSPINE that it is taken for where
# that is asked for: the eighth thoracic vertebra. It is a joint of the actors' model,
# not a place that was seen on that vertebra.
MID_TORSO, T8 = "Spine", "Spine_04"

# SIMSPINE's name of each joint, by either name; the middle of the torso has none.
SIMSPINE_NAMES: dict[str, str] = {
    **{name: name for name in NAMES_16 if name != MID_TORSO},
    **{"RFoot": "RAnkle", "LFoot": "LAnkle"},
    **{"Thorax": "Neck", "Neck/Nose": "Nose", "Head": "Head"},
}

LINKS = (
    *(("Hip", "RHip"), ("RHip", "RKnee"), ("RKnee", "RFoot")),
    *(("Hip", "LHip"), ("LHip", "LKnee"), ("LKnee", "LFoot")),
    *(("Hip", "Spine"), ("Spine", "Thorax"), ("Thorax", "Neck/Nose")),
    ("Neck/Nose", "Head"),
    *(("Thorax", "LShoulder"), ("LShoulder", "LElbow"), ("LElbow", "LWrist")),
    *(("Thorax", "RShoulder"), ("RShoulder", "RElbow"), ("RElbow", "RWrist")),
)

# Left and right of each pair.
PAIRS = tuple((name, f"R{name[1:]}") for name in NAMES if name.startswith("L"))
