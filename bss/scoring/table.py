"""The score table: one row per training sample, filled from logits, read by the samplers."""

import warnings
from typing import Literal, NamedTuple, SupportsIndex, TypedDict

import torch
import torch.distributed as dist
from torch import Tensor

from bss.scoring.formulas import (
    OWN_SCORES,
    PROBABILITIES,
    TWO_LOGITS,
    Unimodal,
    check_choice,
    combined,
    difficulty,
    loss_of,
    min_max,
    rank_fraction,
    seem_probabilities,
    similarity_of,
    tensors_of,
)
from bss.utils.choices import Criterion, HistoryOf, Normalize, Space
from bss.utils.devices import copied, widened, widest_float
from bss.utils.given import Numbers, as_tensor, whole_number

NEVER = -1
"""``ScoreTable.age`` of a sample that has not been scored yet."""


OPEN_ROWS: tuple[Literal["open_sums", "open_counts"], ...] = ("open_sums", "open_counts")
"""Entries of ``ScoreTable.state_dict()`` that are this process's part of the open epoch; all parts add up to it."""


UNASKED = 2
"""After so many epochs with scores the table says that its sampler was not asked for an order."""


_VERSION = 2
"""Version of the state dict. Version 1 kept sums and counts of the open epoch in one tensor."""


class TableState(TypedDict):
    """What :meth:`ScoreTable.state_dict` returns: its arguments, its columns, and the sums of the open epoch."""

    version: int
    num_samples: int
    momentum: float | None
    fused_weight: float
    unimodal_weight: float
    space: Space
    history_of: HistoryOf
    similarity: Tensor
    loss: Tensor
    scaled: Tensor
    age: Tensor
    rounds: Tensor
    open_sums: Tensor
    open_counts: Tensor
    touched: bool


class Mark(NamedTuple):
    """A moment in a table's life, for :meth:`ScoreTable.scored_since`.

    Attributes:
        resets: how often the table was reset by then.
        loads: how often a state was loaded, resets included.
        closed: epochs with scores that it had closed.
        passes: how many of those were scoring passes.
        copies: epochs that others had closed by then, of the table and all copies of it, scoring passes left out.
    """

    resets: int = 0
    loads: int = 0
    closed: int = 0
    passes: int = 0
    copies: int = 0


class _Copies:
    """What a table and all copies of it have in common: one object for all of them.

    Attributes:
        closed: epochs that they have closed, scoring passes left out.
        unasked: how many of those while a sampler waited to be asked for an order; None = none waits.
    """

    def __init__(self) -> None:
        self.closed = 0
        self.unasked: int | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> "_Copies":
        return self


class ScoreTable:
    """Similarity and loss of every training sample, with or without history.

    Call :meth:`update` with the logits of each batch (a scoring pass or the training forward itself), then
    :meth:`synchronize` once at the end of the epoch. Only then do :attr:`similarity`, :attr:`loss` and :attr:`age`
    change, so an order that is drawn from them is the same for all workers and ranks. Several updates of one sample
    within an epoch (the padding of a distributed sampler) count as their mean.

    The table lives on the device of the first logits that it sees. An update costs four scatter-adds and never waits
    for that device.

    Args:
        num_samples: N, the length of the training set.
        momentum: the weight of the past. 0.0 keeps only the newest score (the released code), m blends
            ``m * old + (1 - m) * new``, None is the cumulative mean over all epochs (the paper's figure). As in
            BatchNorm None means cumulative; unlike there a number weighs the old value, not the new one: the paper's
            beta = 0.6, which weighs the new one, is a momentum of 0.4.
        fused_weight: weight of the fused head in the loss, as in training.
        unimodal_weight: weight of each unimodal head in the loss, as in training.
        space: of the similarity, see :func:`bss.prediction_similarity`.
        history_of: what the momentum blends. ``"scores"``: similarity and loss, which are scaled over the training set
            whenever a difficulty is asked for. ``"balance"`` (the paper: its authors' slides, IJCAI 2025, slide 10):
            the balance score ``b = minmax(similarity) - minmax(loss)`` of every round, scaled in that round over all
            samples that have a score by then; :attr:`similarity` and :attr:`loss` are then the newest ones. Both are
            the same without a history.

    Attributes:
        similarity: (N,) float32 in [0, 1] ([-1, 1] in logit space), NaN where never scored.
        loss: (N,) float32, >= 0, NaN where never scored.
        age: (N,) int32, closed epochs since the sample was last scored (0 = in the newest one), -1 = never.
        told_of_use: whether a sampler has warned that a run begins with the scores of another one.

    Raises:
        ValueError: ``num_samples`` that is no whole number >= 1, or a momentum outside [0, 1).
    """

    def __init__(
        self,
        num_samples: int,
        *,
        momentum: float | None = 0.0,
        fused_weight: float = 1.0,
        unimodal_weight: float = 1.0,
        space: Space = "probability",
        history_of: HistoryOf = "scores",
    ):
        check_choice("space", space, Space)
        check_choice("history_of", history_of, HistoryOf)
        num_samples = checked_size(num_samples)
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f"momentum must be None or lie in [0, 1), got {momentum}")
        self.num_samples = num_samples
        self.momentum = momentum
        self.fused_weight = fused_weight
        self.unimodal_weight = unimodal_weight
        self.space = space
        self.history_of = history_of
        # Type and device are named, since a script may have set others as torch's defaults.
        self.similarity = torch.full((num_samples,), torch.nan, dtype=torch.float32, device="cpu")
        self.loss = torch.full((num_samples,), torch.nan, dtype=torch.float32, device="cpu")
        # History of the balance: that of its two terms, scaled similarity and scaled loss, since the blend of a
        # difference is the difference of the blends, and a criterion may ask for one of them.
        rows = 2 if history_of == "balance" else 0
        self._scaled = torch.full((rows, num_samples), torch.nan, dtype=torch.float32, device="cpu")
        self.age = torch.full((num_samples,), NEVER, dtype=torch.int32, device="cpu")
        # Closed epochs that scored the sample.
        self._rounds = torch.zeros(num_samples, dtype=torch.int32, device="cpu")
        # Of the open epoch. Sums of similarities and of losses: in float64 they are exact enough not to depend on the
        # order in which scatter-adds or ranks arrive (where the device has none, the last bits may). Numbers of finite
        # scores, and of others: one that is not finite counts +1 there, and an ignored target -1.
        self._open_sums = torch.zeros(2, num_samples, dtype=torch.float64, device="cpu")
        self._open_counts = torch.zeros(2, num_samples, dtype=torch.int32, device="cpu")
        self._touched = False
        # What samplers ask to notice samples without scores and runs that begin with another one's. It is no part of
        # the state: a resumed run is not held to what was shown before.
        self._now = Mark()
        self._unscored: Tensor | None = None  # rows that the newest closed epoch offered without a finite score
        self._used_in: int | None = None
        self._copies = _Copies()
        self.told_of_use = False
        self._told_of_ignored = False
        # Whether the first logits seem to be probabilities, on their device until an epoch is closed.
        self._looked_at_logits = False
        self._seem_probabilities: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The device that the table lives on."""
        return self.similarity.device

    @property
    def is_empty(self) -> bool:
        """Whether no epoch with scores has been closed yet."""
        return not bool((self.age != NEVER).any())

    @property
    def is_open(self) -> bool:
        """Whether there were updates since the last :meth:`synchronize`."""
        return self._touched

    @property
    def used_in(self) -> int | None:
        """The latest epoch that was trained in an order of these scores; None before the first one.

        It is forgotten by :meth:`reset`, :meth:`load_state_dict` and, without history, by a scoring pass over all
        samples: after those nothing of that training is left in the table.
        """
        return self._used_in

    def note_use(self, epoch: int) -> None:
        """Said by a sampler when an epoch in an order of these scores begins."""
        self._used_in = epoch if self._used_in is None else max(self._used_in, epoch)

    def await_order(self) -> None:
        """Said by a sampler that is made for this table: somebody should ask for its order."""
        if self._copies.unasked is None:
            self._copies.unasked = 0

    def note_asked(self) -> None:
        """Said by a sampler of this table whose epoch is set, or begins."""
        self._copies.unasked = None

    def mark(self) -> Mark:
        """This moment."""
        own = self._now.closed - self._now.passes
        return self._now._replace(copies=self._copies.closed - own)

    def scored_since(self, mark: Mark) -> Tensor | None:
        """Which samples training steps or passes have offered since then in epochs that are closed, (N,) bool.

        Samples with ignored targets, or without a finite score, count in the newest epoch.

        Returns:
            None where there is nothing to compare: nothing but scoring passes was closed, or the table was reset or
            loaded in between.
        """
        _, loads, closed, passes, _ = (now - then for now, then in zip(self._now, mark, strict=True))
        if loads or closed == passes:
            return None
        scored = (self.age != NEVER) & (self.age < closed)
        if self._unscored is not None:
            scored[self._unscored.to(scored.device)] = True
        return scored

    def to(self, device: torch.device | str) -> "ScoreTable":
        """Move the table; returns itself."""
        names = ("similarity", "loss", "_scaled", "age", "_rounds", "_open_counts")
        moved = {name: getattr(self, name).to(device) for name in names}
        moved["_open_sums"] = self._open_sums.to(device, widest_float(torch.device(device)))
        for name, values in moved.items():  # once all have arrived: a half-moved table has no device
            setattr(self, name, values)
        return self

    @torch.no_grad()
    def update(
        self,
        index: Numbers,
        *,
        unimodal: Unimodal | None = None,
        fused: Numbers | None = None,
        target: Numbers | None = None,
        similarity: Numbers | None = None,
        loss: Numbers | None = None,
    ) -> None:
        """Add one batch of B samples, as logits or as ready-made scores.

        Nothing here has a gradient, draws a random number or waits for the device. Samples whose score is not finite
        are counted, keep their older score, and are named by :meth:`synchronize`.

        Args:
            index: (B,) integers, each sample's position in the training set.
            unimodal: modality name -> logits (B, C), or a sequence of them; with ``fused`` and ``target``.
            fused: fused logits, (B, C).
            target: class ids, (B,) integers; a negative one (``ignore_index``) leaves its sample without a score.
            similarity: (B,), instead of logits; with ``loss``.
            loss: (B,), instead of logits; with ``similarity``.

        Raises:
            ValueError: neither or both forms, shapes that differ, an index or target that is not an integer or (checked
                on the CPU only, since elsewhere it would wait for the device) lies outside [0, N), or above C - 1.
        """
        no_logits = unimodal is None and fused is None and target is None
        ignored = None
        if unimodal is not None and fused is not None and target is not None and similarity is None and loss is None:
            similarity, loss, ignored = self._scores(unimodal, fused, target)
        elif similarity is None or loss is None or not no_logits:
            raise ValueError("give either unimodal=, fused= and target=, or similarity= and loss=")
        similarity, loss = as_tensor("similarity", similarity), as_tensor("loss", loss)
        index = self._checked_index(index, len(similarity))
        if similarity.shape != index.shape or loss.shape != index.shape:
            raise ValueError(
                f"index {tuple(index.shape)}, similarity {tuple(similarity.shape)} and loss {tuple(loss.shape)} "
                "must have the same length"
            )
        if not self._touched and self.device != similarity.device:
            self.to(similarity.device)
        # Everything from here on stays on the device: no number is looked at, so nothing waits for the training step.
        index = copied(index, self.device)
        rows = torch.stack((similarity.detach(), loss.detach())).to(self.device, self._open_sums.dtype)
        finite = rows.isfinite().all(dim=0)
        self._open_sums.index_add_(1, index, rows.where(finite, 0.0))
        counts = torch.stack((finite, ~finite)).to(torch.int32)
        if ignored is not None:
            counts[1] = torch.where(ignored.to(self.device), -1, counts[1])
        self._open_counts.index_add_(1, index, counts)
        self._touched = True

    def synchronize(self, *, scoring_pass: bool = False) -> Tensor:
        """Close the epoch: blend the new scores into the table. Under DDP the one collective of an epoch.

        All ranks must call it together. Samples without a finite score keep their older one and are named in a
        warning, those with a negative target only once. Without an update since the last call, on any rank, only a
        collective takes place.

        Args:
            scoring_pass: the scores are those of a pass over samples of its own choice, as :func:`bss.score_dataset`'s,
                and say nothing about what an epoch has shown.

        Returns:
            Which samples had an update since the last call, on any rank, (N,) bool.
        """
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            # Sums and counts travel as one tensor, so that there is one collective; float64 holds any count exactly,
            # float32 those below 2**24.
            both = torch.cat((self._open_sums, self._open_counts.to(self._open_sums.dtype)))
            dist.all_reduce(both)
            self._open_sums.copy_(both[:2])
            self._open_counts.copy_(both[2:])
            self._touched = True  # another rank may have rows where this one has none
        count, rejected = self._open_counts
        seen, updated = count > 0, (count > 0) | (rejected != 0)
        if not self._touched:
            return updated
        self._warn_of_unscored(rejected.where(~seen, 0))
        # An epoch without a single row leaves the ages alone; one whose rows were all rejected was an epoch.
        if updated.any():
            self._note_closing(seen, updated, scoring_pass)
            past = self._weight_of_the_past()
            of_scores = past if self.history_of == "scores" else torch.zeros_like(past)
            for name, total in zip(("similarity", "loss"), self._open_sums, strict=True):
                old = getattr(self, name)
                setattr(self, name, torch.where(seen, _blend(old, total / count, of_scores), old))
            self._rounds = self._rounds + seen  # not in place: a state_dict that was handed out stays as it was
            self.age = torch.where(seen, 0, self.age + (self.age != NEVER)).to(torch.int32)
            if self.history_of == "balance":
                self._blend_scaled(seen, past)
        self._clear_open()
        self._touched = False
        return updated

    def difficulty(self, *, normalize: Normalize = "minmax", criterion: Criterion = "both") -> Tensor:
        """Difficulty of every sample, (N,) float32 in [0, 2] on the table's device; small = balanced.

        Scaled over the samples that have a score; those without one get the median, so that they neither lead nor
        trail. An empty table gives zeros: every sample alike. For the arguments see :func:`bss.difficulty`. A history
        of the balance was scaled by min-max when it was made: with ``"minmax"`` it is taken as it is, so that the
        difficulty is ``1 - b``, and ``"rank"`` goes by the ranks of its two terms.

        Raises:
            ValueError: the epoch is still open (:meth:`synchronize` was not called).
        """
        if self._touched:
            raise ValueError(
                "the ScoreTable has updates that are not closed yet: call table.synchronize() at the end of the epoch, "
                "or table.discard() where a loop was stopped in the middle of one"
            )
        seen = self.age != NEVER
        values = torch.zeros_like(self.loss)
        if seen.any():
            known = self._known_difficulty(seen, normalize, criterion)
            values[seen] = known
            values[~seen] = known.median()
        return values

    def state_dict(self) -> TableState:
        """The whole table, this rank's part of the open epoch included.

        Tensors are references: those of the open epoch go on changing.
        """
        return {
            "version": _VERSION,
            "num_samples": self.num_samples,
            "momentum": self.momentum,
            "fused_weight": self.fused_weight,
            "unimodal_weight": self.unimodal_weight,
            "space": self.space,
            "history_of": self.history_of,
            "similarity": self.similarity,
            "loss": self.loss,
            "scaled": self._scaled,
            "age": self.age,
            "rounds": self._rounds,
            "open_sums": self._open_sums,
            "open_counts": self._open_counts,
            "touched": self._touched,
        }

    def load_state_dict(self, state: TableState) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            ValueError: the state belongs to a table of another size, momentum or loss weights (named).
        """
        newer = {"history_of": "scores", "scaled": self._scaled}  # what states lack that were saved before there was it
        for name in ("version", "num_samples", "momentum", "fused_weight", "unimodal_weight", "space", "history_of"):
            own = _VERSION if name == "version" else getattr(self, name)
            if state.get(name, newer.get(name)) != own:
                raise ValueError(
                    f"the saved ScoreTable has {name}={state.get(name)!r}, this one {own!r}; "
                    "a table can only continue from its own kind"
                )
        device = self.device
        self._now, self._used_in = self._now._replace(loads=self._now.loads + 1), None
        self.similarity = state["similarity"].clone().to(device)
        self.loss = state["loss"].clone().to(device)
        self._scaled = state.get("scaled", newer["scaled"]).clone().to(device)
        self.age = state["age"].clone().to(device)
        self._rounds = state["rounds"].clone().to(device)
        self._open_sums = state["open_sums"].clone().to(device, widest_float(device))
        self._open_counts = state["open_counts"].clone().to(device)
        self._touched = state["touched"]

    def reset(self) -> None:
        """Forget every score, the history and the open epoch, as if the table were new; it stays on its device.

        Under DDP all ranks call it together.
        """
        new = ScoreTable(
            self.num_samples,
            momentum=self.momentum,
            fused_weight=self.fused_weight,
            unimodal_weight=self.unimodal_weight,
            space=self.space,
            history_of=self.history_of,
        )
        self.load_state_dict(new.state_dict())
        self._now = self._now._replace(resets=self._now.resets + 1)
        self._looked_at_logits, self._seem_probabilities, self._told_of_ignored = False, None, False

    def discard(self) -> None:
        """Forget the updates since the last :meth:`synchronize`, as if they had not been: of a loop that was stopped.

        Scores of closed epochs stay; :meth:`reset` forgets these too. Under DDP all ranks call it together.
        """
        self._clear_open()
        self._touched = False

    def forget_open(self) -> None:
        """Drop this process's updates since the last :meth:`synchronize`, but still close the epoch with the others.

        For processes that continue a run: the saved sums of the open epoch are one process's to carry.
        """
        self._clear_open()

    def _scores(self, unimodal: Unimodal, fused: Numbers, target: Numbers) -> tuple[Tensor, Tensor, Tensor]:
        """Similarity and loss of a batch, (B,) each, and whose target is ignored: those losses are NaN."""
        fused, target = as_tensor("fused", fused), as_tensor("target", target)
        logits = [z.detach() for z in (fused, *tensors_of(unimodal))]
        _check_shapes(logits, target)
        target = copied(_checked_target(target, fused.shape[1]), fused.device)
        if not self._looked_at_logits and len(fused):
            self._looked_at_logits, self._seem_probabilities = True, seem_probabilities(logits)
        loss = loss_of(
            logits[0],
            logits[1:],
            target.clamp(min=0),  # cross entropy itself knows -100 alone, and refuses other negative targets
            fused_weight=self.fused_weight,
            unimodal_weight=self.unimodal_weight,
        )
        ignored = target < 0
        return similarity_of(logits[1:], space=self.space), loss.masked_fill(ignored, torch.nan), ignored

    def _warn_of_unscored(self, rejected: Tensor) -> None:
        """Warn of what the epoch that is being closed has in place of scores, and of what its logits seem to be.

        Args:
            rejected: (N,) of the samples without a finite score, above 0 where it was not finite and below 0 where the
                target was ignored.
        """
        broken, ignored = ((rejected * sign > 0).nonzero().squeeze(1).tolist() for sign in (1, -1))
        if broken:
            said = f"{len(broken)} samples had no finite score this epoch and keep their older one"
            warnings.warn(f"{said} (indices {_first_of(broken)})", stacklevel=3)
        if ignored and not self._told_of_ignored:
            self._told_of_ignored = True  # the same ones would be named in every epoch
            said = f"{len(ignored)} samples have a negative target, which is ignored: they get no score"
            warnings.warn(f"{said} (indices {_first_of(ignored)})", stacklevel=3)
        if self._seem_probabilities is not None and self._seem_probabilities:
            warnings.warn(f"the logits of the first batch: {PROBABILITIES}", stacklevel=3)
        self._seem_probabilities = None

    def _note_closing(self, seen: Tensor, updated: Tensor, scoring_pass: bool) -> None:
        now = self._now
        self._now = now._replace(closed=now.closed + 1, passes=now.passes + scoring_pass)
        self._copies.closed += not scoring_pass
        if self._copies.unasked is not None and not scoring_pass:
            self._copies.unasked += 1
            if self._copies.unasked == UNASKED:
                warnings.warn(
                    f"{UNASKED} epochs have updated the table, and nobody has asked its sampler for an order, by "
                    "set_epoch or as the sampler of a loader: give it to torch.utils.data.DataLoader(..., "
                    "sampler=sampler), and see that the framework keeps that loader as it is (docs/frameworks.md)",
                    stacklevel=3,
                )
        unscored = (updated & ~seen).nonzero().squeeze(1)
        self._unscored = unscored if len(unscored) else None
        if scoring_pass and self.momentum == 0 and seen.all():
            self._used_in = None

    def _clear_open(self) -> None:
        self._open_sums.zero_()
        self._open_counts.zero_()

    def _weight_of_the_past(self) -> Tensor:
        """The share of a blended score that the old value keeps, (N,); 0 for a sample's first score."""
        if self.momentum is None:
            return self._rounds / widened(self._rounds + 1.0)
        return widened(torch.where(self._rounds > 0, self.momentum, 0.0))

    def _blend_scaled(self, seen: Tensor, past: Tensor) -> None:
        """Scale the newest scores of all samples, and blend those of this round's samples into the history.

        Args:
            seen: which samples were scored in this round, (N,) bool.
            past: share of a blended value that the old one keeps, (N,).
        """
        known = self.age != NEVER
        new = torch.zeros_like(self._scaled)
        for row, values in zip(new, (self.similarity, self.loss), strict=True):
            row[known] = min_max(values[known])
        self._scaled = torch.where(seen, _blend(self._scaled, new, past), self._scaled)

    def _known_difficulty(self, seen: Tensor, normalize: Normalize, criterion: Criterion) -> Tensor:
        """Difficulty of the samples that have a score."""
        if self.history_of == "scores":
            return difficulty(self.similarity[seen], self.loss[seen], normalize=normalize, criterion=criterion)
        check_choice("normalize", normalize, Normalize)
        check_choice("criterion", criterion, Criterion)
        similarity, loss = self._scaled[:, seen]
        if normalize == "rank":
            similarity, loss = rank_fraction(similarity), rank_fraction(loss)
        return combined(similarity, loss, criterion)

    def _checked_index(self, index: Numbers, length: int) -> Tensor:
        index = as_tensor("index, each sample's position,", index)
        if index.is_floating_point() or index.dtype == torch.bool or index.is_complex():
            raise ValueError(
                f"index must be integers, got {index.dtype}: a float tensor cannot hold large indices exactly"
            )
        if index.shape != (length,):
            raise ValueError(f"index must have one entry per sample, got {tuple(index.shape)} for {length}")
        if index.device.type == "cpu" and length:
            low, high = (int(x) for x in index.aminmax())
            if low < 0 or high >= self.num_samples:
                raise ValueError(
                    f"index must lie in 0..{self.num_samples - 1}, got {low if low < 0 else high}: "
                    "was the table made for another data set?"
                )
        return index.long()


def checked_size(num_samples: SupportsIndex) -> int:
    """N as Python's ``int``; ValueError with the way out for what is no number of samples, such as the data set."""
    try:
        return whole_number("num_samples", num_samples, 1)
    except ValueError as error:
        found = f"{num_samples}" if isinstance(num_samples, int | float) else f"a {type(num_samples).__name__}"
        raise ValueError(f"num_samples must be a whole number >= 1, got {found}: pass len(dataset)") from error


def _first_of(indices: list[int]) -> str:
    return ", ".join(map(str, indices[:5])) + (" ..." if len(indices) > 5 else "")


def _check_shapes(logits: list[Tensor], target: Tensor) -> None:
    """Refuse what are no logits of class ids, with the way out for what it seems to be.

    Args:
        logits: the fused ones first.
        target: of the same samples.
    """
    fused, *unimodal = logits
    alike = len({tuple(z.shape) for z in logits}) == 1
    if len(unimodal) >= 2 and alike and fused.ndim == 2 and target.shape == fused.shape[:1]:
        if fused.shape[1] < 2:
            advice = OWN_SCORES if target.is_floating_point() else TWO_LOGITS
            raise ValueError(f"the logits are {tuple(fused.shape)}, one for each sample: {advice}")
        return
    advice = ""
    if alike and fused.ndim > 2:
        advice = (
            ". Where a sample has several predictions, flatten logits and target to (B * T, C) and (B * T,), and "
            "repeat the index: index.repeat_interleave(T)"
        )
    elif alike and fused.ndim == 1:
        advice = ". A batch of one sample keeps its first axis: no squeeze()"
    elif alike and target.ndim == 2 and len(target) == len(fused):
        advice = f". A target (B, 1) is squeezed: target[:, 0]; {OWN_SCORES}"
    elif {(z.ndim, len(z)) for z in logits} == {(2, len(target))} and not alike:
        advice = (
            ". Features are no logits: where one linear head takes them concatenated, "
            "bss.slices(head, {modality: width, ...})(features) makes the modalities' logits"
        )
    raise ValueError(
        "two or more unimodal logits (B, C), fused logits (B, C) and a target (B,) are needed, got "
        f"{[tuple(z.shape) for z in unimodal]}, {tuple(fused.shape)}, {tuple(target.shape)}{advice}"
    )


def _checked_target(target: Tensor, classes: int) -> Tensor:
    allowed = f"class ids in 0..{classes - 1}, of the logits' {classes} classes"
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ValueError(f"target must be integers, {allowed}, got {target.dtype}: {OWN_SCORES}")
    if target.device.type == "cpu" and len(target) and int(target.max()) >= classes:
        found = int(target.max())
        raise ValueError(
            f"target must be {allowed}, got {found}; one that is to be ignored is negative: "
            f"target.masked_fill(target == {found}, -100)"
        )
    return target.long()


def _blend(old: Tensor, new: Tensor, past: Tensor) -> Tensor:
    """``past * old + (1 - past) * new``, in the widest float, float32 out; an old NaN of weight 0 does not spread."""
    return (past * widened(old).where(past > 0, 0.0) + (1 - past) * new).float()
