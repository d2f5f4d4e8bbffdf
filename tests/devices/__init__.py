"""Several devices, without any: what runs where, and which test sees which fault.

`conftest.py` starts processes (`forked.py`) before the folder's other tests: two on TensorFlow (`on_tensorflow.py`
and `on_tpu.py`; `on_tpu_bridge.py`) and one on JAX (`on_jax.py`), each with virtual devices, and two that compile for
TPUs where the extra [tpu-check] is installed (`on_libtpu.py`); `test_replicas.py` waits for them. They compare trials
of two steps (`trials.py`) on batches whose replicas have different numbers of targets (`batches.py`), or ask
TensorFlow's TPU bridge (`bridge.py`) or libtpu about programs. `test_tpu_runs.py` runs the command line
(`emulated_cli.py`). TPU cores are `emulated_tpu.py`.

Planted in the step: gradients summed twice, batches not sliced and metrics of replica 0 alone are not one device's
numbers, and equal seeds on all replicas are counted (`on_tpu.py`); a py_function and a dynamic shape are seen in the
graph (`on_tpu_bridge.py`).
"""
