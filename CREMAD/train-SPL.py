"""CREMA-D with the learning-based sampler (BSS, SPL): score every epoch, then draw a weighted order.

    python train-SPL.py --sample    # on generated data, without any download
    python train-SPL.py             # on annotations/, AudioWAV/ and Image-01-FPS/ in this folder

Data layout, commands and what differs from the released code: README.md in this folder.
"""

import bss
from bss.recipes import cremad as recipes

if __name__ == "__main__":
    with bss.cli.session(__doc__, __file__, recipes.SPL_PRESETS) as (task, recipe, run):
        data = task.build_data(recipe, run.data_root)
        bss.fit(task.build_model(recipe, run.data_root), data, recipe, run)
