"""Every framework keeps the order: each sample once, by the right rank, in order, and scored; growing epochs included.

What is seen twice, where ranks do not divide an epoch: our own sharding repeats the first samples of the order, fewer
than there are ranks; where Accelerate shares batches, the last step is filled with samples that are drawn at random.
"""

import importlib.util
import math

import pytest

from tests.integrations import contract
from tests.integrations.contract import BATCH, FRAMEWORKS, KINDS, N
from tests.plugins import two_processes

BY_BATCHES = ("Accelerate", "HF Trainer")
SIZES = {"SPL": [21, 21, 21], "CL": [7, 14, 21]}

pytestmark = pytest.mark.filterwarnings("error:(the table|epoch [0-9]|a second pass|a pass that|[0-9]+ epochs)")


def check(records, kind, *, by_batches):
    """Of the ranks' records, see :class:`contract.Contract`."""
    orders = records[0]["orders"]
    assert [len(order) for order in orders] == SIZES[kind]
    expected = contract.losses().tolist()
    for record in records:
        assert record["orders"] == orders
        # Of the passes before the training, and of every epoch that was closed: exactly those that it has shown.
        assert [sorted(rows) for rows in record["scored"]] == [list(range(N)), *map(sorted, orders[:-1])]
        assert record["loss"] == pytest.approx(expected, abs=1e-5)
    for epoch, order in enumerate(orders):
        steps = list(zip(*(record["seen"][epoch] for record in records), strict=True))
        assert len(steps) == math.ceil(len(order) / BATCH)
        seen = []
        for step in steps:
            seen += [index for part in (step if by_batches else zip(*step, strict=True)) for index in part]
        assert seen[: len(order)] == order
        again = seen[len(order) :]
        if by_batches:
            assert len(again) == -len(order) % BATCH
            assert set(again) <= set(order) and len(set(again)) == len(again)
            assert again != order[: len(again)]  # not the most balanced ones
        else:
            assert again == order[: -len(order) % len(records)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_two_processes_see_the_order_that_was_stopped_in_mid_epoch(name, kind):
    package, _ = FRAMEWORKS[name]
    if package:
        pytest.importorskip(package)
    check([rank[f"{name} {kind}"] for rank in two_processes()["contract"]], kind, by_batches=name in BY_BATCHES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cloned", [False, True])
def test_skorch_sees_the_order_that_was_stopped_in_mid_epoch(kind, cloned, tmp_path):
    pytest.importorskip("skorch")
    check([vars(contract.skorch(kind, 1, tmp_path, cloned=cloned))], kind, by_batches=False)


@pytest.mark.parametrize("kind", KINDS)
def test_fabrics_own_count_of_epochs_goes_on_from_a_state(kind, tmp_path):
    """It counts how often its loader was iterated, from 0 in every process: a resumed run saw epoch 0's order again."""
    pytest.importorskip("lightning")
    check([vars(contract.fabric(kind, 1, tmp_path, explicit=False))], kind, by_batches=False)


def test_every_framework_of_the_table_is_a_line_of_the_page():
    page = (contract.ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    for name in (*FRAMEWORKS, "skorch"):
        assert any(line.startswith(f"| {name}") and "tested" in line for line in page.splitlines()), name


def test_packages_that_the_contract_needs_are_pinned():
    pins = (contract.ROOT / "requirements.txt").read_text(encoding="utf-8")
    for name in ("lightning", "accelerate", "torchdata", "pytorch-ignite", "skorch"):
        assert f"\n{name}==" in pins
    assert importlib.util.find_spec("torch")
