"""Calibrated cameras: projection, triangulation, association, refinement."""
