"""Scores of any network: forward hooks on its heads fill the table while it trains."""

import contextlib
import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bss.models.slices import Slices
from bss.scoring.formulas import similarity_of, tensors_of
from bss.scoring.table import ScoreTable
from bss.utils.devices import copied
from bss.utils.given import Numbers, as_tensor

FUSED = "fused"
"""How ``select`` and the error messages name the fused head."""


Fused = str | Callable[[dict[str, Tensor]], Tensor]
"""Dotted name of the fused head, or a function that makes the fused logits of the unimodal ones."""


Select = Mapping[str, Callable[[Any], Tensor]]
"""Modality, or ``"fused"`` -> function that takes the logits (B, C) out of what that module returns."""


OwnLoss = Callable[[Tensor, dict[str, Tensor], Any], Tensor]
"""Maps (fused outputs, unimodal outputs, target) to every sample's loss, (B,)."""


OwnSimilarity = Callable[[dict[str, Tensor]], Tensor]
"""Maps the unimodal outputs to how alike they are, (B,)."""


_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Where wrappers that leave a module's outputs alone keep it: ``torch.compile``, FSDP, activation checkpointing."""


def attach(
    model: nn.Module,
    table: ScoreTable,
    *,
    heads: Mapping[str, str] | Slices,
    fused: Fused,
    select: Select | None = None,
    loss: OwnLoss | None = None,
    similarity: OwnSimilarity | None = None,
) -> "AttachedScores":
    """Fill the table from forward hooks, without a change to the model.

    scores = bss.attach(model, table, heads={"audio": "audio_head", "image": "vision.head"}, fused="head")
    for index, (audio, image, target) in loader:
        with scores.batch(index, target):
            loss = cross_entropy(model(audio, image), target)
            loss.backward()  # inside or after the block

    The logits are copied as the heads return them; nothing has a gradient, draws a random number or waits for the
    device, so a training with hooks is the same to the last bit. Hooks record in training mode (``model.train()``)
    only, and activation checkpointing, which calls a head again during backward, counts once.

    The model may be wrapped in DistributedDataParallel before or after this call. It may be compiled; then attach
    before its first forward, since ``torch.compile`` does not see hooks that come later. A head that is replaced or
    wrapped by something that changes its output (LoRA, a temperature) comes before this call; later it is refused by
    the next :meth:`AttachedScores.batch`. What ``forward`` itself does to a head's output is not seen.

    Args:
        model: any module, with one classification head for each modality.
        table: filled by every batch; ``table.synchronize()`` at the end of the epoch stays the caller's.
        heads: modality -> dotted name of the module that returns its logits, as in ``model.named_modules()``; ``""``
            is the model itself. Several modalities may name one shared module: its calls of a step are then theirs,
            in the order of this mapping. Where the modalities have no heads, but one linear layer takes their
            features concatenated, what :func:`bss.slices` makes of that layer, which is then ``fused`` as well.
        fused: dotted name of the fused head, or a function of the unimodal logits where the fused ones come from no
            module of their own: ``lambda unimodal: sum(unimodal.values())``.
        select: for modules that return more than a tensor of logits; something with a tensor in ``.logits`` or
            ``["logits"]`` needs none.
        loss: every sample's loss, as (fused, unimodal, target) -> (B,), in place of the cross entropies: for several or
            soft labels, or numbers. The target is then whatever :meth:`AttachedScores.batch` is given, and the heads'
            outputs begin with B.
        similarity: how alike the unimodal outputs are, as unimodal -> (B,), with ``loss``; None compares the softmax of
            their two or more logits (B, C).

    Raises:
        ValueError: fewer than two modalities, a name that is no module (the near ones are shown), a fused head that is
            a modality's head as well, or a model that contains ``nn.DataParallel``.
    """
    return AttachedScores(model, table, heads, fused, select or {}, loss, similarity)


class AttachedScores:
    """The hooks that :func:`attach` registers, and the batch that they record.

    It keeps no thread-local or global state: index and target reach the table through :meth:`batch` alone. As a
    context manager it detaches at the end of the block. Copies of the model (``copy.deepcopy``, ``torch.save`` of the
    whole module) are not attached.
    """

    def __init__(
        self,
        model: nn.Module,
        table: ScoreTable,
        heads: Mapping[str, str] | Slices,
        fused: Fused,
        select: Select,
        loss: OwnLoss | None = None,
        similarity: OwnSimilarity | None = None,
    ) -> None:
        if similarity is not None and loss is None:
            raise ValueError("similarity= goes with loss=: a sample's two scores are made of the same outputs")
        self.table = table
        self._loss = loss
        self._similarity = similarity
        self._model = _same_output(model)
        self._slices = heads if isinstance(heads, Slices) else None
        modules = dict(self._model.named_modules(remove_duplicate=False))
        self._heads = _sliced_heads(heads, fused, modules) if isinstance(heads, Slices) else dict(heads)
        self._fused = fused
        names = {**self._heads, FUSED: fused} if isinstance(fused, str) else self._heads
        _check_names(self._heads, fused, select, names, modules, one_head=self._slices is not None)
        self._select = {name: select.get(name, _logits_of) for name in names}
        self._batch: tuple[Numbers, Numbers] | None = None
        # One hook for each module, whoever names it: a shared head's calls are its modalities', in their order.
        self._users: dict[int, list[str]] = {}
        for name, module in names.items():
            self._users.setdefault(id(modules[module]), []).append(name)
        self._calls: dict[int, list[dict[str, Tensor]]] = {place: [] for place in self._users}
        self._paths = names
        self._hooked = {name: modules[module] for name, module in names.items()}
        self._removable = [
            module.register_forward_hook(_Hook(self, id(module)))
            for module in self._model.modules()
            if id(module) in self._users
        ]

    # ---- one batch -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def batch(self, index: Numbers, target: Numbers) -> Iterator[None]:
        """Score the forward pass inside the block, exactly one, as this batch.

        Where the block raises, nothing is recorded.

        Args:
            index: (B,) integers, each sample's position in the training set.
            target: class ids, (B,) integers, on any device; with ``loss`` whatever that takes.

        Raises:
            ValueError: at the start of the block: a head that is another module by now (named). At its end: a head that
                was not called, or too often, or returned something else than (B, C) logits (named).
        """
        self.begin(index, target)
        try:
            yield
        except BaseException:
            self.discard()
            raise
        self.end()

    def begin(self, index: Numbers, target: Numbers) -> None:
        """The start of :meth:`batch`, for frameworks that have callbacks instead of blocks."""
        if not self._removable:
            raise ValueError("the hooks are detached: call bss.attach again")
        if self._batch is not None:
            raise ValueError("a batch is still open: scores.batch blocks cannot be nested, end() comes before begin()")
        self._check_hooked()
        self._batch = (index, target)

    def end(self) -> None:
        """The end of :meth:`batch`: check what the heads returned, and update the table."""
        if self._batch is None:
            raise ValueError("no batch is open: begin(index, target) comes first")
        index, target = self._batch
        try:
            logits = self._recorded(len(index))
        finally:
            self.discard()
        unimodal = {name: logits[name] for name in self._heads}
        fused = logits[FUSED] if isinstance(self._fused, str) else self._fused(dict(unimodal))
        if self._loss is None:
            target = as_tensor("target", target)
        if isinstance(target, Tensor):
            target = copied(target, fused.device)
        if self._loss is None:
            self.table.update(index, unimodal=unimodal, fused=fused, target=target)
            return
        with torch.no_grad():
            similarity, loss = self._likeness(unimodal), self._loss(fused, dict(unimodal), target)
        if loss.shape != (len(index),):
            raise ValueError(
                f"loss= must give one number for each of {len(index)} samples, got {tuple(loss.shape)}: "
                'reduction="none", and the mean over all axes but the first'
            )
        self.table.update(index, similarity=similarity, loss=loss)

    def discard(self) -> None:
        """Forget the open batch, if there is one."""
        self._batch = None
        for calls in self._calls.values():
            calls.clear()

    # ---- the hooks -------------------------------------------------------------------------------------------------

    def detach(self) -> None:
        """Remove the hooks; the table stays."""
        self.discard()
        for handle in self._removable:
            handle.remove()
        self._removable = []

    def __enter__(self) -> "AttachedScores":
        return self

    def __exit__(self, *error: object) -> None:
        self.detach()

    def _check_hooked(self) -> None:
        """Refuse heads that are not the hooked modules any more: the hooks would record what the model does not use."""
        for name, hooked in self._hooked.items():
            there: nn.Module | None = None
            with contextlib.suppress(AttributeError):
                there = self._model.get_submodule(self._paths[name])
            if there is None or (there is not hooked and _same_output(there) is not _same_output(hooked)):
                now = "is gone" if there is None else f"is another module by now, a {type(there).__name__}"
                raise ValueError(
                    f"{self._title(name)} {now}, and the hook is on the {type(hooked).__name__} that was there before: "
                    "attach after wrapping or replacing it (bss.attach), once the model is as it is trained"
                )
        for handle in self._removable:
            # A hook that came later may change the output, so ours is the last.
            hooks = handle.hooks_dict_ref()
            if hooks and next(reversed(hooks)) != handle.id:
                hooks.move_to_end(handle.id)

    def _likeness(self, unimodal: dict[str, Tensor]) -> Tensor:
        if self._similarity is not None:
            return self._similarity(dict(unimodal))
        wrong = next(((name, z) for name, z in unimodal.items() if z.ndim != 2 or z.shape[1] < 2), None)
        if wrong is not None:
            raise ValueError(
                f"{self._title(wrong[0])} returned {tuple(wrong[1].shape)}, and a similarity is made of two or more "
                "logits (B, C): pass similarity=, a function of the unimodal outputs, beside loss="
            )
        return similarity_of(tensors_of(unimodal), space=self.table.space)

    def _record(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if getattr(module, "_is_replica", False):
            raise ValueError(
                "nn.DataParallel runs its replicas in threads, so their logits cannot be told apart: use "
                "DistributedDataParallel (torchrun), or make one GPU visible"
            )
        if not self._model.training or _in_backward():
            return  # evaluation; or activation checkpointing, which runs the forward pass again during backward
        if self._batch is not None:
            if _in_vmap():
                raise ValueError(
                    "the model runs under torch.func.vmap, where a hook sees no batch: return the logits of the mapped "
                    "function (has_aux=True of grad hands them on) and call table.update yourself"
                )
            self._calls[place].append(self._logits(place, args, output))
        elif torch.is_grad_enabled():
            warnings.warn(
                "the model ran in training mode outside `with scores.batch(index, target)`: this batch is not scored",
                stacklevel=2,
            )

    @torch.no_grad()
    def _logits(self, place: int, args: tuple[Any, ...], output: Any) -> dict[str, Tensor]:
        """A copy of the logits of this call: what the model does to them in place afterwards is not seen."""
        # Which modality a call of a shared head belongs to is told by its place among the calls of the step.
        names, number = self._users[place], len(self._calls[place])
        name = FUSED if self._slices else names[min(number, len(names) - 1)]
        logits = self._select[name](output)
        if not isinstance(logits, Tensor):
            raise ValueError(f"{self._title(name)} returned a {type(logits).__name__}: {_way_out(name)}")
        if self._slices is None:
            return {name: logits.detach().clone()}
        if len(args) != 1:
            raise ValueError(f"{self._title(FUSED)} must be called with the concatenated features and nothing else")
        return {**self._slices.of_joined(args[0].detach()), FUSED: logits.detach().clone()}

    def _recorded(self, size: int) -> dict[str, Tensor]:
        """The logits of the open batch by the name of their head, checked."""
        logits: dict[str, Tensor] = {}
        for place, names in self._users.items():
            calls = self._calls[place]
            if len(calls) != (1 if self._slices else len(names)):
                raise ValueError(self._miscounted(names, len(calls)))
            for call in calls:
                logits |= call
        for name, values in logits.items():
            if (values.ndim != 2 and self._loss is None) or not values.ndim or len(values) != size:
                raise ValueError(
                    f"{self._title(name)} must return logits ({size}, C) for {size} samples, got "
                    f"{tuple(values.shape)}: {self._advice(name, values, size)}"
                )
        return logits

    @staticmethod
    def _advice(name: str, values: Tensor, size: int) -> str:
        if values.ndim == 2 and len(values) < size:
            return (
                "a head that sees only some of a batch's samples leaves the others without a score, so call "
                "table.update yourself for those that have every modality"
            )
        if values.ndim == 2 and len(values) > size and len(values) % size == 0:
            return f"{_way_out(name)}; for several rows of a sample index.repeat(K) and target.repeat(K) name each"
        if values.ndim > 2:
            return f"{_way_out(name)}, or bss.attach(loss=, similarity=) makes scores of them as they are"
        return _way_out(name)

    def _miscounted(self, names: list[str], number: int) -> str:
        names = [FUSED] if self._slices else names
        title = " and ".join(map(self._title, names))
        if number == 0 and not self._model.training:
            return f"{title}: the model is in eval mode, and only training is scored (model.train())"
        if number == 0:
            return (
                f"{title} was not called in this step: the forward pass must be inside `with scores.batch(...)` and "
                "use every head, and a compiled model must be attached before its first forward pass"
            )
        return (
            f"{title} was called {number} times in this step, not {len(names)}: give every forward pass its own "
            "scores.batch, or call table.update yourself"
        )

    def _title(self, name: str) -> str:
        module = self._fused if name == FUSED else self._heads[name]
        return f"the {name} head ({module or 'the model itself'})"


class _Hook:
    """The hook on one module. Copies of the module carry a dead one: they are not the model that is trained."""

    def __init__(self, scores: AttachedScores | None = None, place: int = 0):
        self._scores = scores
        self._place = place

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._scores is not None:
            self._scores._record(self._place, module, args, output)

    def __reduce__(self) -> tuple[type["_Hook"], tuple[()]]:
        return _Hook, ()


def _same_output(module: nn.Module) -> nn.Module:
    """The module inside wrappers that leave its outputs alone."""
    names = ("module",) if isinstance(module, nn.parallel.DistributedDataParallel) else _WRAPPERS
    for name in names:
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            return _same_output(inner)
    return module


def _sliced_heads(slices: Slices, fused: Fused, modules: dict[str, nn.Module]) -> dict[str, str]:
    """Modality -> the name of the one head."""
    found = [name for name, module in modules.items() if _same_output(module) is slices.head]
    if not isinstance(fused, str) or fused not in found:
        there = f"fused={found[0]!r}" if found else "the head is no module of this model"
        raise ValueError(f"fused= must name the head that bss.slices was given, got {fused!r}: {there}")
    return dict.fromkeys(slices.dims, fused)


def _check_names(
    heads: dict[str, str],
    fused: Fused,
    select: Select,
    names: dict[str, str],
    modules: dict[str, nn.Module],
    *,
    one_head: bool,
) -> None:
    if any(isinstance(module, nn.DataParallel) for module in modules.values()):
        raise ValueError(
            "nn.DataParallel runs its replicas in threads, so their logits cannot be told apart: use "
            "DistributedDataParallel (torchrun), or make one GPU visible"
        )
    if len(heads) < 2 or FUSED in heads:
        raise ValueError(
            f"heads needs two or more modalities, none of them called {FUSED!r}, got {list(heads)}: where one linear "
            "layer takes all features concatenated, heads=bss.slices(layer, {modality: width, ...})"
        )
    for name, module in names.items():
        if module not in modules:
            near = difflib.get_close_matches(module, list(modules), n=5, cutoff=0.3) or list(modules)[1:6]
            raise ValueError(
                f"the model has no module {module!r} for the {name} head; there are, for example, {', '.join(near)}"
            )
    if isinstance(fused, str) and not one_head and any(modules[name] is modules[fused] for name in heads.values()):
        raise ValueError(
            f"module {fused!r} is the fused head and a modality's: their logits cannot be told apart; of a linear "
            "layer on concatenated features heads=bss.slices(layer, {modality: width, ...}) makes the modalities'"
        )
    called = [FUSED] if one_head else list(names)
    unknown = sorted(set(select) - set(called))
    if unknown:
        raise ValueError(f"select names {unknown[0]!r}, which is none of the heads {called}")


def _logits_of(output: Any) -> Any:
    """Logits as a tensor, as ``["logits"]`` or as ``.logits``; anything else is returned and refused later."""
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)


def _in_backward() -> bool:
    # A traced forward has its recomputation inside the compiled graph, where no hook runs.
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _in_vmap() -> bool:
    stack = None if torch.compiler.is_compiling() else torch._C._functorch.get_interpreter_stack()
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in stack or ())


def _way_out(name: str) -> str:
    return f"select={{{name!r}: lambda output: ...}} takes them out of what it returns"
