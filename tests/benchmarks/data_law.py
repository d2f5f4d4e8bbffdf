"""How often the 95% intervals of the law over parameters and tokens contain the truth.

`python -m tests.benchmarks.data_law`: on 200 sets of 21 synthetic runs with the constants that Chinchilla printed and
0.5% of noise; some minutes.
"""

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from scalecli.analysis.statistics.data_law import fit_data_law
from tests.analysis.statistics.data_laws import NAMES, covered, synthetic_runs


def main(trials: int) -> None:
    """Prints the share of trials whose interval contains the truth, for each constant."""
    generator = np.random.default_rng(0)
    fits = [fit_data_law(*synthetic_runs(generator)) for _ in range(trials)]
    fitted = [fit for fit in fits if fit is not None]
    shares = np.mean([covered(fit) for fit in fitted], axis=0)
    print(f"{len(fitted)} of {trials} fitted")
    for name, share in zip(NAMES, shares, strict=True):
        print(f"{name:15} {share:.1%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
