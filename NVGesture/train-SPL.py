"""NVGesture with the learning-based sampler (BSS, SPL): score every epoch, then draw a weighted order.

    python train-SPL.py --sample    # on generated data, without any download
    python train-SPL.py             # on the lists and Video_data/ in this folder

Data layout, commands and what differs from the released code: README.md in this folder.
"""

from bss import cli
from bss.engine import fit
from bss.samplers import SelfPacedSampler
from bss.tasks import nvgesture as task

if __name__ == "__main__":
    with cli.session(__doc__, __file__, task, task.SPL, task.SPL_OFFICIAL) as (recipe, run):
        data = task.build_data(recipe, run.data_root)
        fit(task.build_model(recipe, run.data_root), data, SelfPacedSampler, recipe, run)
