"""From files on the disk to batches on the device.

A data set of one's own is :class:`Splits` of anything that returns dict samples. The published sets are in
:mod:`bss.data.datasets`, what makes their files out of what was published in :mod:`bss.data.prepare`, what checks them
in :mod:`bss.data.doctor`.
"""

import lazy_loader

# Listed in __init__.pyi, and imported when first used: the command line looks into this room before PyTorch is there.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
