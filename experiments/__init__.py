"""Research programs: python -m experiments.<name>."""

import os

# Before NumPy comes: all matrices here are small, and BLAS threads that wait for each
# other cost up to ten times what they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
