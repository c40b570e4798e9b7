"""SIMSPINE's 33 model markers and the weights of its inverse kinematics.

Offsets are metres in the frame of the unscaled body (X forward, Y up, Z right) of
Pose2Sim's full-body model, whose body names they use. Eyes and ears of the 37
keypoints are not among the markers; FACE has places of our own for them.

Source: the marker set and the inverse kinematics set-up that SIMSPINE
(arXiv 2602.20792) released.
"""

Offset = tuple[float, float, float]

# marker: (body, offset)
MARKERS: dict[str, tuple[str, Offset]] = {
    "Nose": ("head", (0.116266, 0.012610, 0.000153)),
    "Head": ("head", (0.015922, 0.164131, 0.000000)),
    "Neck": ("torso", (-0.042956, 0.413061, -0.001450)),
    "LShoulder": ("torso", (-0.012752, 0.366307, -0.201574)),
    "RShoulder": ("torso", (-0.012752, 0.366307, 0.201574)),
    "LElbow": ("humerus_l", (0.025000, -0.297955, 0.008738)),
    "RElbow": ("humerus_r", (0.025000, -0.297955, -0.008738)),
    "LWrist": ("radius_l", (-0.000174, -0.235096, -0.009744)),
    "RWrist": ("radius_r", (-0.000174, -0.235096, 0.009744)),
    "Hip": ("pelvis", (-0.156262, 0.004088, 0.000000)),
    "LHip": ("pelvis", (-0.063927, -0.081343, -0.105406)),
    "RHip": ("pelvis", (-0.063927, -0.081343, 0.105406)),
    "LKnee": ("femur_l", (-0.005410, -0.386132, -0.005111)),
    "RKnee": ("femur_r", (-0.005410, -0.386132, 0.005111)),
    "LAnkle": ("tibia_l", (-0.000286, -0.376840, -0.014960)),
    "RAnkle": ("tibia_r", (-0.000286, -0.376840, 0.014960)),
    "LBigToe": ("toes_l", (0.064664, 0.009869, 0.014580)),
    "LSmallToe": ("toes_l", (0.027117, 0.009572, -0.028780)),
    "LHeel": ("calcn_l", (0.013586, 0.023304, 0.001887)),
    "RBigToe": ("toes_r", (0.064664, 0.009869, -0.014580)),
    "RSmallToe": ("toes_r", (0.027117, 0.009572, 0.028780)),
    "RHeel": ("calcn_r", (0.013586, 0.023304, -0.001887)),
    "Neck_03": ("torso", (-0.004862, 0.499958, -0.001450)),
    "Neck_02": ("torso", (-0.015141, 0.459957, -0.001450)),
    "LClavicle": ("torso", (0.029778, 0.371409, -0.025133)),
    "RClavicle": ("torso", (0.028295, 0.369893, 0.025133)),
    "LLatissimus": ("torso", (-0.075097, 0.276519, -0.094742)),
    "RLatissimus": ("torso", (-0.075097, 0.276519, 0.094742)),
    "Spine_05": ("torso", (-0.075034, 0.338510, -0.000626)),
    "Spine_04": ("torso", (-0.080639, 0.215644, 0.000348)),
    "Spine_03": ("lumbar1", (-0.044242, -0.009101, 0.000000)),
    "Spine_02": ("lumbar3", (-0.047699, -0.004161, 0.000000)),
    "Spine_01": ("lumbar5", (-0.036870, 0.014393, 0.000000)),
}

# Eyes as far apart as the mean pupils of ANSUR II's men (64 mm), 40 mm above the nose
# and 20 mm behind it; ears at the notches above their flaps: 131 mm below the vertex,
# 145 mm apart.
FACE: dict[str, tuple[str, Offset]] = {
    "REye": ("head", (0.096, 0.052, 0.032)),
    "LEye": ("head", (0.096, 0.052, -0.032)),
    "REar": ("head", (0.016, 0.033, 0.0725)),
    "LEar": ("head", (0.016, 0.033, -0.0725)),
}

# Eyes and ears have a weight but no marker, so that they do nothing.
IK_WEIGHTS: dict[str, float] = {
    **dict.fromkeys(("LShoulder", "RShoulder", "LHip", "RHip"), 2.0),
    **dict.fromkeys(("LElbow", "RElbow", "LWrist", "RWrist", "Hip"), 1.0),
    **dict.fromkeys(("LKnee", "RKnee", "LAnkle", "RAnkle"), 1.0),
    **dict.fromkeys(("LBigToe", "LSmallToe", "LHeel"), 1.0),
    **dict.fromkeys(("RBigToe", "RSmallToe", "RHeel"), 1.0),
    **dict.fromkeys(("Spine_01", "Spine_02", "Spine_03"), 0.5),
    **dict.fromkeys(("Spine_04", "Spine_05", "Neck", "Neck_02", "Neck_03"), 0.5),
    **dict.fromkeys(("Head", "LClavicle", "RClavicle"), 0.3),
    **dict.fromkeys(("LLatissimus", "RLatissimus"), 0.3),
    **dict.fromkeys(("Nose", "LEye", "REye", "LEar", "REar"), 0.1),
}
# Coordinates held at their default values, and the weights of these tasks.
IK_COORDINATE_WEIGHTS: dict[str, float] = {"L5_S1_Flex_Ext": 1.0}
IK_ACCURACY = 1e-5
