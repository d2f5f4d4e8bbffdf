"""The tests of several devices run in processes of their own, which test_replicas.py starts."""

import os
import sys

if os.environ.get("SCALECLI_TEST_REPLICAS") == "jax":
    sys.modules["tensorflow"] = None  # whoever imports it, fails
