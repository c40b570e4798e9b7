"""OpenSim itself, run on the same inputs; for experiments and tests only."""
