"""scalecli's command line where there is an emulated TPU: python -m tests.devices.emulated_cli CORES pretrain ..."""

import sys

from scalecli.cli.main import main
from tests.devices import emulated_tpu

if __name__ == "__main__":
    emulated_tpu.install(int(sys.argv[1]))
    emulated_tpu.compute()
    main(sys.argv[2:])
