# options: steps_per_epoch=500, samples_per_step=12
"""The same, with --steps-per-epoch 500 --samples-per-step 12."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("no_dataloader.py")), run_name="__main__")
