"""One thread per test process.

pytest-xdist gives every core a process of its own already, and tests that fork a training into several processes must
not have used threads before: a forked process waits forever for the threads of its parent's OpenMP pool.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
