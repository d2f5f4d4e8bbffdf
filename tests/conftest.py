"""Settings of the whole test run, made before TensorFlow or JAX is imported."""

import os

# Most of the time here would go into optimising programs that run for milliseconds.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # waking threads takes longer than the small products of a fit
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
