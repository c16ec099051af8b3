"""`python -m mirrorkit.simulator`: the process that `SimulatorProcess` starts."""

import sys

from mirrorkit.simulator.process import main

if __name__ == "__main__":
    sys.exit(main())
