"""Balance-aware sequence sampling: choose the order in which a multimodal network sees its samples.

table = bss.ScoreTable(len(dataset))
sampler = bss.SelfPacedSampler(len(dataset), table=table, seed=0)
loader = DataLoader(bss.IndexedDataset(dataset), batch_size=32, sampler=sampler)
for epoch in range(epochs):
    sampler.set_epoch(epoch)
    for index, (audio, image, target) in loader:
        ...  # the usual step, from any model that gives one set of logits per modality and a fused one
        table.update(index, unimodal=[audio_logits, image_logits], fused=fused_logits, target=target)
    table.synchronize()
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - pip refuses that, a clone on somebody's path does not
    raise ImportError(
        f"bss needs Python 3.11 or newer, and this is {sys.version.split()[0]}: make an environment of a newer one"
    )

import lazy_loader

# The public names are listed in __init__.pyi; each is imported when it is first used, for PyTorch alone takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


__version__ = "0.1.0"
