"""A device without float64, as Apple's, on a machine that has none: tensors that say so, and compute on the CPU.

It raises for a float64 tensor on the device and for tensors of two devices in one operation. It imitates neither the
real one's asynchrony nor its random numbers, kernels and rounding.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "fakegpu"  # PrivateUse1 is the one device that Python may register


class _Backend(backend_registration._DummyBackendModule):
    """What PyTorch and bss.utils.devices ask of a device's module; its generator is a number of its own."""

    seed = 0

    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16]

    def manual_seed(self, seed):
        self.seed = seed % 2**62

    def get_rng_state(self, device=None):
        return torch.tensor(self.seed)

    def set_rng_state(self, state, device=None):
        self.seed = int(state)

    def synchronize(self):
        pass


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
DEVICE = torch.device(NAME, 0)
COPIES = {"copy_", "_to_copy", "_copy_from", "set_data"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
NO_FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64"


class Narrow(torch.Tensor):
    """A tensor of the device; its numbers are those of an inner tensor on the CPU."""

    @staticmethod
    def __new__(cls, inner, requires_grad=False):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=requires_grad,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __reduce_ex__(self, protocol):  # saved as what it is on the CPU
        return self.detach().inner.clone().__reduce_ex__(protocol)

    def __deepcopy__(self, memo):
        return Narrow(self.detach().inner.clone()).requires_grad_(self.requires_grad)

    def tolist(self):
        return self.detach().inner.tolist()


def _run(func, args, kwargs):
    name = func._schema.name.removeprefix("aten::")
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    ours = [value for value in tensors if isinstance(value, Narrow)]
    wanted = kwargs.get("device")
    there = torch.device(wanted).type == NAME if wanted is not None else bool(ours)
    if ours and name not in COPIES | INDEXING and any(not isinstance(t, Narrow) and t.dim() for t in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices ({func})")
    inner_args, inner_kwargs = tree_map(
        lambda value: value.inner if isinstance(value, Narrow) else value, (args, kwargs)
    )
    if wanted is not None and there:
        inner_kwargs = {**inner_kwargs, "device": torch.device("cpu")}
        inner_kwargs.pop("pin_memory", None)
    if "non_blocking" in inner_kwargs:
        inner_kwargs["non_blocking"] = False
    out = func(*inner_args, **inner_kwargs)
    if not there:  # a copy to the CPU shares no memory with the device
        return tree_map(lambda value: value.clone() if ours and isinstance(value, torch.Tensor) else value, out)
    known = {id(value.inner): value for value in ours}

    def wrapped(value):
        if not isinstance(value, torch.Tensor) or id(value) in known:
            return known.get(id(value), value)
        if value.dtype in (torch.float64, torch.complex128):
            raise TypeError(NO_FLOAT64)
        return Narrow(value)

    return tree_map(wrapped, out)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Conversions(TorchFunctionMode):
    """What would ask C++ for a device that it does not have."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            tensor, *rest = args
            copy = kwargs.pop("copy", False)
            if rest and isinstance(rest[0], torch.Tensor):
                rest = [rest[0].device, rest[0].dtype, *rest[1:]]
            device, dtype, _, layout = torch._C._nn._parse_to(*rest, **kwargs)
            device, dtype = device or tensor.device, dtype or tensor.dtype
            if not copy and device.type == tensor.device.type and dtype == tensor.dtype and layout is None:
                return tensor
            target = DEVICE if device.type == NAME else device
            return torch.ops.aten._to_copy.default(tensor, dtype=dtype, device=target, memory_format=layout)
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = torch.device(kwargs.pop("device"))
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class _Generator(torch.Generator):
    """A generator of the device draws on the CPU."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu" if torch.device(device).type == NAME else device)

    def __init__(self, device="cpu"):
        pass


class FakeDevice:
    """Inside, ``device="fakegpu"`` works in factories and conversions."""

    def __enter__(self):
        torch._C._set_multithreading_enabled(False)  # autograd's threads do not know the modes
        self.generator, torch.Generator = torch.Generator, _Generator
        self.modes = [_Operations(), _Conversions()]
        for mode in self.modes:
            mode.__enter__()
        return DEVICE

    def __exit__(self, *error):
        for mode in reversed(self.modes):
            mode.__exit__(*error)
        torch._C._set_multithreading_enabled(True)
        torch.Generator = self.generator
