"""What every test starts from: one thread, no network."""

import os

# Tests compare sums bit for bit, and tiny models gain nothing from a second thread. Set before torch is imported, and
# inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
