"""The base of all samplers: an order that is frozen for the epoch, shared evenly among ranks, and can be resumed."""

import abc
import math
import warnings
from collections.abc import Callable, Iterator
from typing import NotRequired, TypedDict, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

from bss.data.indexed import check_numbering
from bss.pacing import Pacing
from bss.samplers import callers
from bss.scoring.formulas import check_choice
from bss.scoring.orders import class_balanced, uniform_order
from bss.scoring.table import Mark, ScoreTable, checked_size
from bss.utils.choices import Criterion, Normalize, Order
from bss.utils.given import Numbers, as_tensor, whole_number
from bss.utils.seeding import generator


class OrderOptions(TypedDict, total=False):
    """The keyword arguments that all samplers share; :class:`OrderSampler` explains them."""

    table: ScoreTable | None
    difficulty: Numbers | None
    normalize: Normalize
    criterion: Criterion
    order: Order
    labels: Numbers | None
    min_size: int
    warmup_epochs: int
    seed: int
    num_replicas: int | None
    rank: int | None
    drop_last: bool
    batch_size: int


class SamplerState(TypedDict):
    """What :meth:`OrderSampler.state_dict` returns."""

    version: int
    sampler: str
    size: int
    seed: int
    epoch: int
    order: Tensor
    difficulty: NotRequired[Tensor | None]
    position: int


def _live(compute: Callable[["OrderSampler"], int]) -> int:
    """A property, typed as the plain attribute that ``DistributedSampler`` declares under the same name."""
    return cast(int, property(compute))


class OrderSampler(DistributedSampler[int], abc.ABC):
    """Base of the samplers: yields sample indices in an order that is fixed when the epoch begins.

    ``set_epoch(e)`` freezes the order of epoch e; it is a function of the scores at that moment, the epoch and the seed
    alone: never of the world size, the workers, a global random state or how often it is iterated. Rank r of W gets
    ``order[r::W]``, so that step k over all ranks is one window of the order.

    It is a ``DistributedSampler``, so frameworks hand it through instead of wrapping it in a shuffling one; the world
    is looked up when it is needed. For a framework that shards batches itself (Accelerate, the HF Trainer) pass
    ``num_replicas=1, rank=0``; what would be sharded twice, or not at all, is noticed when an epoch begins.

    A subclass implements :meth:`_scored_order`.

    Attributes:
        uses_scores: whether this kind of sampler reads a table or difficulty at all.
        repeats: whether an epoch may show a sample more than once.

    Args:
        num_samples: N, the length of the training set (the attribute of this name is the rank's share of an epoch, as
            in ``DistributedSampler``; N is ``size``).
        table: the scores to order by, read by every ``set_epoch``. Or:
        difficulty: (N,) fixed difficulty in [0, 2], as from :func:`bss.difficulty`.
        normalize: how ``table`` scales its scores, see :func:`bss.difficulty`.
        criterion: which of the ``table``'s scores count, see :func:`bss.difficulty`.
        order: ``"balanced_first"``, or ``"imbalanced_first"`` for the reverse (the anti-curriculum); of samplers that
            use scores.
        labels: (N,) class ids, integers. When given, every epoch and every batch keeps the class mix of all N, within a
            sample or two of each class.
        pacing: 0-based epoch -> fraction of the set, see :mod:`bss.pacing`; None = all of it in every epoch.
        min_size: an epoch has at least this many samples (or all N, if that is less), whatever the pacing says.
        warmup_epochs: the first epochs see all samples in uniformly random order; the pacing starts after them.
        seed: non-negative.
        num_replicas: W, number of ranks; None = the process group's, or 1 without one.
        rank: None = the process group's, or 0 without one.
        drop_last: make every rank's share a whole number of batches of ``batch_size``, by leaving out a few samples
            drawn at random: the end of the order, which is no random sample of it, is not always what is lost. False
            repeats the first samples of the order where ranks would otherwise differ in length.
        batch_size: the loader's, with ``drop_last``. Leave the loader's own ``drop_last`` off then: it always loses the
            end of the order, which for SPL is the imbalanced samples.

    Raises:
        ValueError: arguments that contradict each other or ``num_samples``.
    """

    uses_scores = True
    repeats = False

    def __init__(
        self,
        num_samples: int,
        *,
        table: ScoreTable | None = None,
        difficulty: Numbers | None = None,
        normalize: Normalize = "minmax",
        criterion: Criterion = "both",
        order: Order = "balanced_first",
        labels: Numbers | None = None,
        pacing: Pacing | None = None,
        min_size: int = 1,
        warmup_epochs: int = 0,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
        batch_size: int = 1,
    ):
        num_samples = checked_size(num_samples)
        difficulty = None if difficulty is None else as_tensor("difficulty", difficulty)
        labels = None if labels is None else as_tensor("labels", labels)
        check_choice("normalize", normalize, Normalize)
        check_choice("criterion", criterion, Criterion)
        check_choice("order", order, Order)
        if not self.uses_scores and order != "balanced_first":
            raise ValueError(
                f"{type(self).__name__} looks at no scores, so order={order!r} means nothing to it: leave it out"
            )
        if self.uses_scores and table is None and difficulty is None:
            raise ValueError(f"{type(self).__name__} needs scores: pass table= or difficulty=")
        if table is not None and difficulty is not None:
            raise ValueError("give table= or difficulty=, not both")
        if table is not None and table.num_samples != num_samples:
            raise ValueError(f"the table has {table.num_samples} rows, the sampler {num_samples} samples")
        if difficulty is not None and difficulty.shape != (num_samples,):
            raise ValueError(f"difficulty must be ({num_samples},), got {tuple(difficulty.shape)}")
        if pacing is not None and not callable(pacing):
            raise ValueError(
                "pacing must be a function of the epoch, such as functools.partial(bss.root_pacing, start=0.1), "
                f"got {pacing!r}"
            )
        if labels is not None and (labels.shape != (num_samples,) or labels.is_floating_point()):
            raise ValueError(f"labels must be {num_samples} integers, got {tuple(labels.shape)} {labels.dtype}")
        min_size, warmup_epochs = whole_number("min_size", min_size, 1), whole_number("warmup_epochs", warmup_epochs)
        seed, batch_size = whole_number("seed", seed), whole_number("batch_size", batch_size, 1)
        num_replicas = None if num_replicas is None else whole_number("num_replicas", num_replicas, 1)
        rank = None if rank is None else whole_number("rank", rank)
        if num_replicas is not None and (rank or 0) >= num_replicas:
            raise ValueError(f"rank must be below num_replicas={num_replicas}, got {rank}")
        self.size = num_samples
        self.table = table
        self.normalize = normalize
        self.criterion = criterion
        self.order = order
        self.labels = labels
        self.pacing = pacing
        self.min_size = min_size
        self.warmup_epochs = warmup_epochs
        self.seed = seed
        self.drop_last = drop_last
        self.batch_size = batch_size
        self.epoch = 0
        self._num_replicas = num_replicas  # None is looked up when needed: the process group may come later
        self._rank = rank
        self._given_difficulty = difficulty
        self._order: Tensor | None = None
        self._difficulty: Tensor | None = None  # frozen together with the order
        self._epoch_was_set = False
        self._epoch_is_accelerates = False  # whether the last set_epoch came from Accelerate's own count of epochs
        self._is_explicit = False  # whether the epoch was set by the user or a state since the newest pass began
        self._fabrics_offset = 0  # of the epoch to the number of times that Fabric's loader was iterated
        self._start = 0  # global position at which the iterators of this epoch begin; above 0 after a resume
        self._position = 0  # global position of the newest iterator
        self._reached = 0  # the furthest one that any iterator of this epoch has come to
        self._passes = 0
        self._ahead = 1  # indices that the newest pass's loader may take and drop
        self._length_was_asked: tuple[int, int] | None = None  # first: in which epoch, and what was said
        self._was_looked_at = False  # whether anybody has asked for the frozen order
        self._resumed_at: int | None = None  # global position at which a resumed epoch goes on
        self._mark = Mark() if table is None else table.mark()  # the table when the order was frozen
        self._length: int | None = None  # of the loader's data set
        self._told_of_unscored = 0  # how many samples the newest warning was about
        self._told: set[str] = set()  # what was warned of, and is not again
        if table is not None:
            table.await_order()
        if drop_last and num_replicas is not None:
            self._check_world()

    # ---- the epoch ---------------------------------------------------------------------------------------------

    def set_epoch(self, epoch: int) -> None:
        """Freeze the order of this epoch, and the difficulty that it is made from, by the scores as they are now.

        The same epoch again does nothing. Warns, once of a kind, where the epoch before was not what it seems: samples
        that were shown and got no score, an order that nobody has iterated over or that was left at the length of a
        shorter epoch, scores that went to another copy of the table. Also where epoch 0 comes after a later one with
        the same table: another run, which begins with :meth:`ScoreTable.reset`.

        Lightning's Fabric numbers epochs by how often its loader was iterated; an epoch that the caller has set or
        loaded since then stays, and Fabric's count goes on from there. While Lightning looks for a learning rate or a
        batch size the epoch stays as it is.

        Raises:
            ValueError: a negative epoch, a table whose last epoch is still open (also that of a loop that was stopped,
                where an earlier epoch is set), or Accelerate's loader replacing the
                epoch that the caller has set.
        """
        epoch = whole_number("epoch", epoch)
        if callers.called_by_tuner():
            return  # steps that are undone: all of them have the order of the epoch that is set
        counted = callers.called_by_accelerate("DataLoaderShard.__iter__", "DataLoaderDispatcher.__iter__")
        if counted and self._epoch_was_set and not self._epoch_is_accelerates and epoch != self.epoch:
            raise ValueError(
                f"the sampler is at epoch {self.epoch}, but Accelerate's loader counts its own epochs and is at "
                f"{epoch}: call loader.set_epoch(epoch) on the prepared loader instead of sampler.set_epoch(epoch)"
            )
        self._epoch_is_accelerates = counted
        if callers.called_by_fabric():
            if self._is_explicit:
                self._fabrics_offset = self.epoch - epoch
            epoch += self._fabrics_offset
        self._is_explicit = True
        # Frameworks call this more than once an epoch: order and position stay as they are.
        if self._epoch_was_set and epoch == self.epoch and self._order is not None and not self._table_was_reset():
            return
        fresh = not self._epoch_was_set and epoch >= self.warmup_epochs
        if fresh and self.table is not None and self.table.is_open:
            raise ValueError(
                "the ScoreTable has updates that are not closed yet: call table.synchronize() at the end of the epoch; "
                "to resume in the middle of one, call sampler.load_state_dict(...) before set_epoch"
            )
        if self._epoch_was_set and epoch < self.epoch and self.uses_scores and self._is_table_open:
            raise ValueError(
                f"an earlier loop was stopped in epoch {self.epoch}, and its updates of the table are still open: "
                "table.discard() forgets those, table.reset() all scores, for a run that begins anew"
            )
        messages = self._before_epoch(epoch)
        if self.table is not None:
            self.table.note_asked()
        self._freeze(epoch)
        self._epoch_was_set = True
        for message in messages:
            warnings.warn(message, stacklevel=2)

    @property
    def _is_table_open(self) -> bool:
        return self.table is not None and self.table.is_open

    def refresh(self) -> None:
        """Freeze the current epoch's order again, from the scores as they are now."""
        self._freeze(self.epoch)

    def rearrange(self, order: Tensor) -> None:
        """Replace the frozen order of the current epoch, before it is iterated.

        Args:
            order: (K,) non-negative integers that the loader's data set understands, of any number K >= 1; equal on
                all ranks.
        """
        self._order = _compact(order, int(order.max()) + 1)
        self._start = self._position = self._reached = self._passes = 0

    def global_order(self) -> Tensor:
        """Sample indices of the current epoch over all ranks, before padding or dropping: (size_at(epoch),) int64."""
        self._was_looked_at = True
        return self._frozen_order().long()

    def difficulty(self) -> Tensor | None:
        """Difficulty of every sample when the current order was frozen, (N,) on the CPU: what the order was made from.

        In a warm-up epoch, whose order is uniform, it is what the scores said by then, and None if there were none. It
        is None as well for samplers that use no scores, and after an epoch was continued from a state without it.
        """
        self._frozen_order()
        return self._difficulty

    def weights(self) -> Tensor | None:
        """What the current epoch's order was drawn by, (N,) up to a factor; None where it was not drawn by weights."""
        return None

    def size_at(self, epoch: int) -> int:
        """How many samples the given epoch sees, over all ranks: floor(N * pacing), at least ``min_size``."""
        if epoch < self.warmup_epochs or self.pacing is None:
            return self.size
        least = max(self.min_size, self._unit if self.drop_last else 1)
        return min(self.size, max(least, math.floor(self.size * self.pacing(epoch - self.warmup_epochs))))

    def steps_at(self, epoch: int, batch_size: int, drop_last: bool = False) -> int:
        """Number of batches that one rank gets in the given epoch from a loader with these settings."""
        share = self._share(self.size_at(epoch))
        return share // batch_size if drop_last else math.ceil(share / batch_size)

    def total_steps(self, epochs: int, batch_size: int, drop_last: bool = False) -> int:
        """Number of batches of epochs 0 .. epochs - 1 together, for learning-rate schedules that need it up front."""
        return sum(self.steps_at(epoch, batch_size, drop_last) for epoch in range(epochs))

    # ---- this rank's share -------------------------------------------------------------------------------------

    @_live
    def num_replicas(self) -> int:
        """W, the number of ranks."""
        if self._num_replicas is not None:
            return self._num_replicas
        return dist.get_world_size() if _in_process_group() else 1

    @_live
    def rank(self) -> int:
        """This process's rank in 0 .. W - 1."""
        if self._rank is not None:
            return self._rank
        if _in_process_group() and self._num_replicas in (None, dist.get_world_size()):
            return dist.get_rank()
        if self._num_replicas in (None, 1):
            return 0
        raise ValueError(f"num_replicas={self._num_replicas} is not the process group's: pass rank= as well")

    @_live
    def num_samples(self) -> int:
        """How many indices this rank yields in the whole current epoch (the name is ``DistributedSampler``'s)."""
        return self._share(self.size_at(self.epoch) if self._order is None else len(self._order))

    @_live
    def total_size(self) -> int:
        """How many indices all ranks together yield in the current epoch, padding included."""
        return self.num_samples * self.num_replicas

    def __len__(self) -> int:
        if self._length_was_asked is None:
            self._length_was_asked = self.epoch, self.num_samples
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        self._check_world()
        self._check_sharding()
        reader = callers.reader()
        if reader is not None:
            self._check_dataset(reader.dataset)
        if self.table is not None:
            self.table.note_asked()
        if not callers.called_by_tuner():
            if self.table is not None and self.uses_scores:
                self.table.note_use(self.epoch)
            self._check_repetition()
        self._ahead = 1 if reader is None else reader.ahead
        self._is_explicit = False
        return _OrderIterator(self, callers.shards())

    def forget_length(self) -> None:
        """Said by an adapter that has seen to it that each epoch has its own length: a short one was stopped."""
        self._length_was_asked = None

    # ---- resume ------------------------------------------------------------------------------------------------

    def state_dict(self) -> SamplerState:
        """The frozen order and the position in it; tensors are references, so this costs nothing per step.

        The position counts what the newest iterator has handed out over all ranks. A plain ``DataLoader`` prefetches,
        so there pass the number of samples that were trained on to :meth:`load_state_dict` instead.
        """
        self._was_looked_at = True
        return {
            "version": 1,
            "sampler": type(self).__name__,
            "size": self.size,
            "seed": self.seed,
            "epoch": self.epoch,
            "order": self._frozen_order(),
            "difficulty": self._difficulty,
            "position": self._position,
        }

    def load_state_dict(self, state: SamplerState, *, position: int | None = None) -> None:
        """Continue in the middle of an epoch.

        An explicit :meth:`set_epoch` wins: if it named another epoch than the saved one, before or after this call,
        the saved order and position are not used.

        Args:
            state: from :meth:`state_dict`; of any world size (with ``drop_last`` another world leaves out other
                samples, so there a few are repeated or lost).
            position: samples of this epoch that were trained on, over all ranks; None = the saved position.

        Raises:
            ValueError: the state is another sampler's, of another size or of another seed (named).
        """
        own = {"version": 1, "sampler": type(self).__name__, "size": self.size, "seed": self.seed}
        for name, value in own.items():
            if state.get(name) != value:
                raise ValueError(
                    f"the saved sampler has {name}={state.get(name)!r}, this one {value!r}; "
                    "a sampler can only continue from its own kind"
                )
        position = state["position"] if position is None else position
        if position < 0:
            raise ValueError(f"position must be >= 0, got {position}")
        # Loaders load lazily, after the user has called set_epoch: a state of the epoch before would replay that epoch.
        if self._epoch_was_set and self.epoch != state["epoch"]:
            return
        self.epoch = state["epoch"]
        self._order = _compact(state["order"], self.size)
        self._difficulty = state.get("difficulty")  # states of older versions have none
        # So that the caller's set_epoch(this epoch), and Fabric's of another, keep the order and the position.
        self._epoch_was_set = self._is_explicit = True
        self._start = self._position = self._reached = self._resumed_at = position
        self._passes = 0
        if self.table is not None:
            self.table.note_asked()
            self._mark = self.table.mark()

    # ---- inside ------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        """Indices of ``count`` samples in the order of this epoch, (count,) int64; after the warm-up only.

        Args:
            epoch: 0-based, the warm-up included.
            count: ``size_at(epoch)``.
            difficulty: (N,) in [0, 2] on the CPU; zeros, every sample alike, where the sampler uses no scores.
        """

    def _current_difficulty(self, *, warming_up: bool) -> Tensor | None:
        """The given difficulty, or the table's, (N,) on the CPU; None for samplers that use no scores.

        A warm-up demands no scores: there an empty table, or one whose epoch is still open, gives None.
        """
        if not self.uses_scores:
            return None
        if self._given_difficulty is not None:
            return self._given_difficulty.cpu()
        assert self.table is not None  # the constructor asks for one of the two
        if warming_up and (self.table.is_open or self.table.is_empty):
            return None
        return self.table.difficulty(normalize=self.normalize, criterion=self.criterion).cpu()

    def _by_class(self, order: Tensor) -> Tensor:
        """The order itself, or with ``labels`` its classes interleaved, so that every batch keeps the class mix."""
        return order if self.labels is None else class_balanced(order, self.labels)

    def _refuse_empty_table(self) -> None:
        if self.table is not None and self.table.is_empty and not self.table.is_open:
            raise ValueError(
                "the ScoreTable is still empty, so a curriculum would follow the file order: call bss.score_dataset "
                "before set_epoch, or pass warmup_epochs=1 and update the table while training"
            )

    def _freeze(self, epoch: int) -> Tensor:
        # The difficulty is read here and nowhere else: what asks for it later, or for weights made of it, must get what
        # the order was made from, and not what an online table has become since.
        warming_up = epoch < self.warmup_epochs
        difficulty = self._current_difficulty(warming_up=warming_up)
        with torch.device("cpu"):  # whatever device a script has set as torch's default
            if warming_up:
                order = uniform_order(self.size, seed=self.seed, epoch=epoch)
            else:
                known = torch.zeros(self.size, device="cpu") if difficulty is None else difficulty
                order = self._scored_order(epoch, self.size_at(epoch), known)
        # Only now, so that an epoch that is refused leaves the sampler where it was.
        self.epoch, self._order, self._difficulty = epoch, _compact(order, self.size), difficulty
        self._start = self._position = self._reached = self._passes = 0
        self._resumed_at = None
        self._was_looked_at = False
        if self.table is not None:
            self._mark = self.table.mark()
        return self._order

    def _frozen_order(self) -> Tensor:
        """The order as it is kept, see :meth:`global_order`; made for epoch 0 if no epoch was set."""
        return self._freeze(self.epoch) if self._order is None else self._order

    def _before_epoch(self, epoch: int) -> list[str]:
        """What is to be warned of when the given epoch begins, before its order is frozen."""
        messages = []
        if self._epoch_was_set and self._order is not None:
            messages += [self._idle(epoch), self._cut_short()]
        if self.table is not None:
            messages.append(self._stale_scores(epoch))
            if self._epoch_was_set:
                messages += [self._scores_elsewhere(), self._missing_scores()]
        return [message for message in messages if message]

    def _once(self, kind: str, message: str) -> str | None:
        """The message, and None whenever one of its kind was told before."""
        if kind in self._told:
            return None
        self._told.add(kind)
        return message

    def _table_was_reset(self) -> bool:
        """Whether the frozen order is of a run before the table's."""
        return self.table is not None and self.table.mark().resets != self._mark.resets

    def _stale_scores(self, epoch: int) -> str | None:
        """That the run of which this is the first epoch begins with the scores of another one; once for a table."""
        table = self.table
        assert table is not None
        if epoch or not table.used_in or table.told_of_use or not self.uses_scores:
            return None
        table.told_of_use = True
        return (
            f"epoch 0 begins with the scores that the table has from a training up to epoch {table.used_in}: another "
            "run (a fold, a trial) would start in the order of that one's network, so call table.reset() before it"
        )

    @property
    def _is_unread(self) -> bool:
        """Whether nobody has taken an index of the frozen order, as far as this process can tell."""
        # Accelerate's dispatcher reads the order on one rank, for all of them.
        elsewhere = self._num_replicas is not None and _in_process_group() and dist.get_rank() > 0
        return not self._reached and self._resumed_at is None and not elsewhere

    def _idle(self, epoch: int) -> str | None:
        """That the order of the epoch that is over was not followed: the loader has another one.

        Without updates in it an epoch may be one that was only looked at, or passed over; two that follow each other
        and of which nobody has wanted to know the order are not.
        """
        if not self._is_unread:
            return None
        updated = self.table is not None and self.table.scored_since(self._mark) is not None
        if not updated and (self._was_looked_at or epoch != self.epoch + 1):
            return None
        what = f"the table was updated in epoch {self.epoch}" if updated else f"epoch {self.epoch} is over"
        return self._once(
            "idle",
            f"{what}, and nobody has iterated over the sampler, so its order was not followed: give it to the loader, "
            "torch.utils.data.DataLoader(..., sampler=sampler) without shuffle=True, and see that the framework keeps "
            "that loader as it is (docs/frameworks.md)",
        )

    def _cut_short(self) -> str | None:
        """That the epoch ended where a shorter one before it did: somebody keeps the length that he was once told."""
        if self._length_was_asked is None or not self._reached:
            return None
        asked_in, share = self._length_was_asked
        told, total, reached = share * self.num_replicas, len(self._even_order()), self._reached
        scored = None if self.table is None else self.table.scored_since(self._mark)
        if reached == total and scored is not None and not self._resumed_at:
            rows = scored.cpu()[self._shown()].nonzero()  # processes may have loaded more than was trained on
            reached = int(rows[-1]) + 1 if len(rows) else total
        if asked_in >= self.epoch or not told <= reached < min(total, told + self._ahead * self.num_replicas):
            return None
        return self._once(
            "cut short",
            f"epoch {self.epoch} has {total} samples and was left after about {reached}, where epoch {asked_in} ended: "
            "something asked for the loader's length once, and cuts growing epochs short. Let it ask in every epoch "
            "(docs/frameworks.md says how), or train with a sampler whose epochs are all of one size",
        )

    def _scores_elsewhere(self) -> str | None:
        """That the sampler was read and its table got nothing, while a copy of that table got scores."""
        assert self.table is not None
        _, _, closed, passes, copies = (now - then for now, then in zip(self.table.mark(), self._mark, strict=True))
        if not self._reached or closed != passes or copies <= 0:
            return None
        return self._once(
            "elsewhere",
            f"epoch {self.epoch} was read from this sampler, and its scores went to another copy of the table: "
            "copy.deepcopy, or sklearn's clone in a cross-validation with skorch, copies sampler and table. Update "
            "and close sampler.table, of the sampler that the loader has",
        )

    def _missing_scores(self) -> str | None:
        """That samples which the epoch has shown got no score, though the table was updated in it.

        The first and the last ones may lack scores: a resume whose first part was scored elsewhere, an epoch that was
        cut short, a loader that leaves its last batch out. What comes between samples with scores may not.
        """
        assert self.table is not None
        scored = self.table.scored_since(self._mark)
        if scored is None or self._order is None:
            return None
        if self._is_unread:
            return None
        shown = self._shown()
        has = scored.cpu()[shown]
        if has.any():
            first, last = has.nonzero().aminmax()
            between = slice(int(first), int(last))
        else:
            between = slice(None)
        missing = [] if has[between].all() else shown[~has].tolist()
        if len(missing) <= self._told_of_unscored:
            return None
        self._told_of_unscored = len(missing)
        named = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        return (
            f"epoch {self.epoch} has shown {len(shown)} samples, and {len(missing)} of them got no score "
            f"(indices {named}), though the table was updated: look for a table.update in some steps only (inside "
            "`if step % k == 0`), for an index that is not the sample's place in the data set (parts that are numbered "
            "from 0 each), and for samples that the data set or collate_fn leaves out"
        )

    def _shown(self) -> Tensor:
        """The samples of the epoch since it was resumed, each where it comes first: padding repeats some at the end."""
        places = self._even_order()[self._resumed_at or 0 :].long() % self.size
        _, first = np.unique(places.numpy(), return_index=True)
        return places[torch.from_numpy(np.sort(first))]

    def _check_repetition(self) -> None:
        """Warn, once, when a pass begins over what was seen before: nobody has set the next epoch."""
        dropped = not self._is_explicit and self._reached - self._start > self._ahead * self.num_replicas
        if not (self._passes or dropped) or (self._passes and self._start):
            return
        message = self._once(
            "repetition",
            f"a second pass over epoch {self.epoch} sees the same order again: call sampler.set_epoch(epoch) "
            "before every epoch",
        )
        if message:
            warnings.warn(message, stacklevel=3)

    def _check_dataset(self, dataset: object) -> None:
        """Refuse, when an epoch begins, a loader's data set that the sampler's indices do not fit (any more)."""
        if self.table is not None and self.uses_scores:
            check_numbering(dataset, num_samples=self.size)
        try:
            length = len(dataset)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            return
        if self._length not in (None, length):
            raise ValueError(
                f"the data set had {self._length} samples when the sampler began and has {length} now, and the sampler "
                f"orders {self.size}: make table and sampler anew for the data set as it is"
            )
        self._length = length

    def _check_sharding(self) -> None:
        """Refuse, when an epoch begins, samples that somebody else shares among the ranks as well."""
        sharded = callers.called_by_accelerate("BatchSamplerShard.", "DataLoaderDispatcher.")
        if sharded and self.num_replicas > 1:
            raise ValueError(
                "Accelerate shares the sampler's batches among the ranks, so a sampler that shares its order as well "
                f"would lose samples: construct it as {type(self).__name__}(..., num_replicas=1, rank=0)"
            )
        if not sharded and self._num_replicas == 1 and _in_process_group() and dist.get_world_size() > 1:
            warnings.warn(
                f"num_replicas=1 in a world of {dist.get_world_size()}: every rank iterates over all samples. That is "
                "for loaders that Accelerate has prepared; leave num_replicas= and rank= out elsewhere",
                stacklevel=3,
            )

    def _check_world(self) -> None:
        """Refuse a rank or a size that does not fit the world; the process group may be younger than the sampler."""
        if self.rank >= self.num_replicas:
            raise ValueError(f"rank {self.rank} lies outside the world of {self.num_replicas}")
        if self.drop_last and self.size < self._unit:
            raise ValueError(
                f"{self.size} samples do not fill one batch of {self.batch_size} on each of {self.num_replicas} ranks; "
                "lower the batch size or pass drop_last=False"
            )

    @property
    def _unit(self) -> int:
        """What the size of an epoch over all ranks is a multiple of, with ``drop_last``."""
        return self.num_replicas * self.batch_size

    def _share(self, size: int) -> int:
        if self.drop_last:
            return size // self._unit * self.batch_size
        return math.ceil(size / self.num_replicas)

    def _order_for(self, shards: callers.Shards | None) -> Tensor:
        """The order of this epoch over all ranks, for whoever shares it.

        Accelerate fills the last batches of an epoch from its beginning, with the most balanced samples. Where they are
        full already it does not: here they are filled with samples of the epoch that are drawn at random.

        Args:
            shards: how Accelerate shares the batches; None where it does not.

        Raises:
            ValueError: ranks would get different numbers of batches.
        """
        order = self._even_order()
        if shards is None or shards.drop_last or not (excess := len(order) % shards.unit):
            return order
        if not shards.even:
            raise ValueError(
                f"{len(order)} samples are no multiple of the {shards.unit} in a step of all ranks, and with "
                f"even_batches=False some ranks get fewer: construct {type(self).__name__}(..., drop_last=True, "
                f"batch_size={shards.unit}), or leave even_batches=True"
            )
        missing = shards.unit - excess
        draw = torch.randperm(len(order), generator=generator("tail", self.seed, self.epoch), device="cpu")
        return torch.cat((order, order[draw.repeat(math.ceil(missing / len(order)))[:missing]]))

    def _even_order(self) -> Tensor:
        """The order with a few samples dropped or repeated, so that all ranks get the same number; else itself."""
        order, ranks = self._frozen_order(), self.num_replicas
        excess = len(order) % (self._unit if self.drop_last else ranks)
        if not excess:
            return order
        if self.drop_last:
            # A draw, not the end: of SPL's order the end is the most imbalanced samples, in every epoch.
            draw = torch.randperm(len(order), generator=generator("tail", self.seed, self.epoch), device="cpu")
            keep = torch.ones(len(order), dtype=torch.bool, device="cpu")
            keep[draw[:excess]] = False
            return order[keep]
        padded = math.ceil(len(order) / ranks) * ranks
        return order.repeat(math.ceil(padded / len(order)))[:padded]


def _compact(order: Tensor, num_samples: int) -> Tensor:
    """The same indices below N in half the memory, since an order is kept all through its epoch."""
    return order.to(torch.int32 if num_samples <= 2**31 else torch.int64)


class _OrderIterator:
    """One pass over a rank's share, which tells the sampler its position."""

    def __init__(self, sampler: OrderSampler, shards: callers.Shards | None):
        order = sampler._order_for(shards)
        self._sampler = sampler
        self._ranks = sampler.num_replicas
        self._taken = sampler._start // self._ranks
        self._epoch = sampler.epoch
        self._indices = order[sampler.rank :: self._ranks].numpy()
        sampler._position = self._taken * self._ranks

    def __iter__(self) -> "_OrderIterator":
        return self

    def __next__(self) -> int:
        sampler = self._sampler
        current = sampler.epoch == self._epoch
        if self._taken >= len(self._indices):
            if current:
                sampler._start = 0
                sampler._passes += 1
            raise StopIteration
        index = int(self._indices[self._taken])
        self._taken += 1
        if current:
            sampler._position = self._taken * self._ranks
            sampler._reached = max(sampler._reached, sampler._position)
        else:
            self._tell_of_another_epoch()
        return index

    def take(self, count: int) -> np.ndarray:
        """The next indices, as many as that or what is left of the pass: as ``next`` gives them, at once."""
        sampler = self._sampler
        current = sampler.epoch == self._epoch
        indices = self._indices[self._taken : self._taken + count]
        self._taken += len(indices)
        if len(indices) > 0 and not current:
            self._tell_of_another_epoch()
        elif len(indices) > 0:
            sampler._position = self._taken * self._ranks
            sampler._reached = max(sampler._reached, sampler._position)
        if len(indices) < count and current:  # the end was come to
            sampler._start = 0
            sampler._passes += 1
        return indices

    def _tell_of_another_epoch(self) -> None:
        message = self._sampler._once(
            "another epoch",
            f"a pass that began in epoch {self._epoch} goes on after set_epoch({self._sampler.epoch}), in the order of "
            f"epoch {self._epoch}: call set_epoch before the loader is asked for its iterator, and take a new iterator "
            "for every epoch (docs/frameworks.md)",
        )
        if message:
            warnings.warn(message, stacklevel=3)


def _in_process_group() -> bool:
    return dist.is_available() and dist.is_initialized()
