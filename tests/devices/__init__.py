"""Several devices, without any: what runs where, and which test sees which fault.

`test_replicas.py` starts two processes, one on TensorFlow (`on_tensorflow.py`, `on_tpu.py`) and one on JAX
(`on_jax.py`), each with virtual devices. Both compare trials of two steps (`trials.py`) on batches whose replicas have
different numbers of targets (`batches.py`). `test_tpu_runs.py` runs the command line (`emulated_cli.py`, in processes
from `forked.py`). TPU cores are `emulated_tpu.py`; `bridge.py` asks TensorFlow's TPU compiler about a graph.

Planted in the step, in `on_tpu.py`: gradients summed twice, batches not sliced and metrics of replica 0 alone are not
one device's numbers; a py_function and a dynamic shape are seen in the graph; equal seeds on all replicas are counted.
"""
