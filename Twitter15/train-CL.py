"""Twitter15 with the heuristic sampler (BSS, CL): score once, then grow the training subset.

    python train-CL.py --sample     # on generated data, without any download
    python train-CL.py              # on annotations/ and twitter2015_images/ here; fetches pretrained weights

Data layout, commands and what differs from the released code: README.md in this folder.
"""

import bss
from bss.recipes import twitter15 as recipes

if __name__ == "__main__":
    with bss.cli.session(__doc__, __file__, recipes.CL_PRESETS) as (task, recipe, run):
        data = task.build_data(recipe, run.data_root)
        bss.fit(task.build_model(recipe, run.data_root), data, recipe, run)
