"""The tests of several devices run in processes of their own, which test_replicas.py starts."""

import os
import sys

PROCESS = os.environ.get("SCALECLI_TEST_REPLICAS")
collect_ignore = [f"test_on_{backend}.py" for backend in ("tensorflow", "jax") if backend != PROCESS]

if PROCESS == "jax":
    sys.modules["tensorflow"] = None  # whoever imports it, fails
