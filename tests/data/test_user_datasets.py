"""Datasets that users pass to `train`: which items are accepted, in which order they are used."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from support import identical, raises_user_error
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from viceversa.batch import Batch
from viceversa.data import DataConfig
from viceversa.data.loader import Loader
from viceversa.data.open import Datasets
from viceversa.data.open_user import UserData, channels_of, check_sides, open_user_data
from viceversa.data.user_items import Sides
from viceversa.fields import fill

CPU = torch.device("cpu")
SIDE = 4


def constant(number: int, channels: int = 3) -> Tensor:
    """An image whose values are all number / 100."""
    return torch.full((channels, SIDE, SIDE), number / 100)


def pairs(count: int) -> list[tuple[Tensor, Tensor]]:
    """Pairs of A = i / 100 and B = -i / 100."""
    return [(constant(i), constant(-i)) for i in range(count)]


class Noisy(Dataset[dict[str, Tensor]]):
    """Pairs with augmentation by the global generators of Python, NumPy and torch."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        shift = 0.1 * random.random() + 0.1 * float(np.random.rand())
        return {"a": constant(index) + shift, "b": 0.1 * torch.randn(3, SIDE, SIDE).clamp(-1, 1)}


def opened(data: Any, paired: bool = True, val: Any = None, **settings: Any) -> Datasets:
    config = fill(DataConfig, settings, "data")
    user = UserData(data, val)
    return open_user_data(user, config, paired, 0, lambda text: None)


def epochs(datasets: Datasets, count: int = 2, start: int = 0) -> list[Batch]:
    loader = Loader(datasets.train, 2, CPU)
    return [batch for epoch in range(1, count + 1) for batch in loader.epoch(epoch, start) if batch]


def numbers(images: Tensor) -> list[int]:
    return [round(100 * float(image.mean())) for image in images]


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_each_pair_is_used_once_per_epoch_in_another_order(direction: str) -> None:
    orders = []
    for epoch in (1, 2):
        loader = Loader(opened(pairs(7), direction=direction).train, 2, CPU)
        batches = [batch for batch in loader.epoch(epoch) if batch]
        assert [len(batch[0]) for batch in batches] == [2, 2, 2, 1]
        sources = [n for batch in batches for n in numbers(batch[0])]
        targets = [n for batch in batches for n in numbers(batch[1])]
        assert sources == [-n for n in targets]
        assert sorted(map(abs, sources)) == list(range(7))
        assert all(n <= 0 for n in (targets if direction == "ab" else sources))
        orders.append(sources)
    assert orders[0] != orders[1]


def test_two_datasets_are_not_paired() -> None:
    a = torch.stack([constant(i) for i in range(5)])
    b = TensorDataset(torch.stack([constant(-i) for i in range(3)]))
    data = opened((a, b), paired=False, val=(a[:2], b))
    assert len(data.train) == 5 and data.train.lengths == (5, 3)
    batches = epochs(data, 8)
    assert {n for batch in batches for n in numbers(batch[1])} == {0, -1, -2}
    drawn = [zip(numbers(batch.a), numbers(batch.b), strict=True) for batch in batches]
    assert any(n != -m for one in drawn for n, m in one)
    assert data.held_out is not None and data.held_out.lengths == (2, 3)
    assert data.train.names(1, 0)[0].endswith(" of A")


def test_an_unpaired_method_may_use_a_dataset_of_pairs() -> None:
    batches = epochs(opened(pairs(5), paired=False), 8)
    drawn = [zip(numbers(batch.a), numbers(batch.b), strict=True) for batch in batches]
    assert any(n != -m for one in drawn for n, m in one)


def test_items_depend_on_seed_epoch_and_position_alone() -> None:
    torch.manual_seed(1)
    first = epochs(opened(Noisy()))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    again = epochs(opened(Noisy()))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert identical(first, again) and identical(before, after)
    assert identical(first[1:3], epochs(opened(Noisy()), 1, start=1))  # resumed in the epoch
    assert not identical(first[0], first[3])  # another epoch has other augmentation


def test_without_held_out_data_samples_are_those_of_training_in_order() -> None:
    data = opened(pairs(3))
    assert data.split == "train" and data.held_out is None and "val_data" in data.without_held_out
    batches = [data.samples.batch([(1, position)], CPU) for position in range(3)]
    assert [numbers(batch[0])[0] for batch in batches if batch] == [0, 1, 2]


def flat(**changes: Any) -> tuple[Any, Any]:
    return changes.get("a", constant(0)), changes.get("b", constant(1))


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (constant(1), "not a pair"),
        ((constant(1),), "not a pair"),
        ({"a": constant(1)}, "not a pair"),
        (
            {"a": constant(1), "b": np.zeros((3, 4, 4))},
            "image B of an item of the dataset is a nda",
        ),
        (flat(a=constant(1)[0]), "float32 tensor (4, 4)"),
        (flat(a=torch.zeros(3, 4, 4, dtype=torch.uint8)), "uint8 tensor"),
        (flat(b=constant(1, channels=4)), "4 channels, not 3"),
        (flat(b=constant(250)), "values from 2.5 to 2.5"),
        (flat(b=constant(1) * torch.nan), "values from nan to nan"),
        (flat(b=constant(1)[:, :0]), "is empty"),
    ],
)
def test_an_invalid_item_is_refused(item: Any, text: str) -> None:
    data = opened([item])
    with raises_user_error("data") as caught:
        data.train.first()
    assert text in str(caught.value)


def test_values_slightly_outside_are_accepted() -> None:
    """Resizing with a bicubic filter and saturated colors exceeds the range by rounding."""
    source, _ = opened([(constant(1), constant(1) * 0 + 1.0005)]).train.first()
    assert source.shape == (3, SIDE, SIDE)


def test_images_of_different_sizes_cannot_share_a_batch() -> None:
    items = [(constant(1), constant(1)), (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))]
    with raises_user_error() as caught:
        epochs(opened(items), 1)
    assert "4x4, 8x8" in str(caught.value)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield constant(1), constant(1)


@pytest.mark.parametrize(
    ("data", "paired"),
    [
        (Stream(), True),
        (iter(pairs(2)), True),
        ([], True),
        ((pairs(1), []), False),
        ((pairs(1), pairs(1)), True),
        ((pairs(1), pairs(1), pairs(1)), False),
        (("photos", "paintings"), False),
        (7, True),
    ],
    ids=[
        "iterable without length",
        "iterator",
        "empty list",
        "no images of B",
        "two datasets for pairs",
        "three datasets",
        "texts",
        "number",
    ],
)
def test_other_objects_are_refused(data: Any, paired: bool) -> None:
    with raises_user_error("data"):
        check_sides(data, paired, "data")


def test_channels_are_those_of_the_first_item() -> None:
    sides: Sides = [(constant(1, 5), constant(1, 1))]
    assert channels_of(sides) == {"a": 5, "b": 1}
    assert channels_of(([constant(1, 2)], TensorDataset(constant(1, 4)[None]))) == {"a": 2, "b": 4}


def test_the_range_of_a_domain_is_what_files_have_at_inference() -> None:
    data = opened(pairs(2), b={"range": (-1000.0, 2000.0)})
    a, b = data.train.domains["a"], data.train.domains["b"]
    assert (a.dtype, a.low, a.high) == ("uint8", (0.0,) * 3, (255.0,) * 3)
    assert (b.dtype, b.low, b.high) == ("float32", (-1000.0,) * 3, (2000.0,) * 3)
    with raises_user_error("data.a.range"):
        opened(pairs(2), a={"range": "minmax"})
    classes = opened([(torch.zeros(2, 4, 4), constant(1))], a={"kind": "labels", "ids": 2})
    assert classes.train.first()[0].shape[0] == 2


def test_pairs_of_an_unpaired_method_are_validated_on_request() -> None:
    config = DataConfig()

    def open_with(val: Any) -> Datasets:
        user = UserData((pairs(2)[0], pairs(2)[1]), val)
        return open_user_data(user, config, False, 0, lambda text: None, validate_pairs=True)

    held_out = open_with(pairs(3)).held_out
    assert held_out is not None and held_out.paired
    for val in (None, (pairs(2)[0], pairs(2)[1])):
        with raises_user_error("validate.pairs"):
            open_with(val)


def loaded_by(workers: int, data: Sides) -> list[Batch]:
    user = UserData(data, workers=workers)
    return epochs(open_user_data(user, DataConfig(), True, 0, lambda text: None))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_worker_processes_change_no_item() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert identical(loaded_by(0, Noisy()), loaded_by(2, Noisy()))
    assert torch.equal(before, torch.get_rng_state())


class Process(Dataset[tuple[Tensor, Tensor]]):
    """Pairs whose values tell the process that loaded them."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return constant(1), constant(0) + 1 / os.getpid()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_are_other_processes() -> None:
    own = torch.full((), 1 / os.getpid())
    assert all(bool((batch.b == own).all()) for batch in loaded_by(0, Process()))
    assert not any(bool((batch.b == own).any()) for batch in loaded_by(1, Process()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_an_item_is_one_sentence(workers: int) -> None:
    with raises_user_error("data") as caught:
        loaded_by(workers, [(constant(250), constant(1))])
    assert "\n" not in str(caught.value) and "2.5" in str(caught.value)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_without_a_part_of_a_batch_gets_none() -> None:
    data = open_user_data(UserData(pairs(4), workers=1), DataConfig(), True, 0, lambda text: None)
    loader = Loader(data.train, 2, CPU, lambda batch: batch if batch[0][1] else [])
    assert [batch is None for batch in loader.epoch(1)] == [True, False]


# -- weights


def weighted(count: int, hidden: float, shape: tuple[int, ...] = (SIDE, SIDE)) -> list[Any]:
    """Pairs of which the first row has weight 0 and the second 0.5."""
    weight = torch.ones(shape)
    weight[..., 0, :], weight[..., 1, :] = 0, 0.5
    items: list[Any] = []
    for a, b in pairs(count):
        a[:, 0], b[:, 0] = hidden, hidden
        items.append({"a": a, "b": b, "weight": weight})
    return items


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (1, SIDE, SIDE)])
@pytest.mark.parametrize("paired", [True, False])
def test_weights_of_items(shape: tuple[int, ...], paired: bool) -> None:
    fill_a = {"a": {"nodata_fill": 0.5}}
    results = [
        epochs(opened(weighted(4, hidden, shape), paired, **fill_a), 1)
        for hidden in (9.0, float("nan"))
    ]
    for one, other in zip(*results, strict=True):
        assert all(map(torch.equal, one.tensors, other.tensors))
        assert one.weight_a is not None and one.weight_b is not None
        expected = torch.tensor([0.0, 0.5, 1, 1])
        assert torch.equal(one.weight_a[0, 0, :, 0], expected)
        assert one.weight_b.shape == (2, 1, SIDE, SIDE)
        assert (one.a[:, :, 0] == 0.5).all() and (one.b[:, :, 0] == -1).all()
        assert one.fill_a == 0.5 and one.a[:, :, 1:].max() < 0.5
    batch = opened(weighted(4, 9.0, shape), paired).train.batch([(1, 0)], CPU, fill=False)
    assert batch is not None and batch.weight_a is None
    assert batch.a[:, :, 0].isnan().all() and batch.a[:, :, 1:].isfinite().all()


def test_weights_of_items_of_one_domain() -> None:
    a = [{"image": item["a"], "weight": item["weight"]} for item in weighted(4, 9.0)]
    b = [constant(-i) for i in range(3)]
    (batch, *_) = epochs(opened((a, b), paired=False), 1)
    assert batch.weight_a is not None and batch.weight_b is not None
    assert not batch.weight_a[:, :, 0].any() and batch.weight_b.all()
    assert epochs(opened((b, b), paired=False), 1)[0].weight_a is None  # control


@pytest.mark.parametrize(
    "weight", [torch.ones(SIDE, SIDE + 1), torch.full((SIDE, SIDE), 2.0), "x", torch.ones(SIDE)]
)
def test_invalid_weights_are_refused(weight: Any) -> None:
    items = [{"a": a, "b": b, "weight": weight} for a, b in pairs(2)]
    with raises_user_error("data") as caught:
        epochs(opened(items), 1)
    assert "the weight of image A of an item" in str(caught.value)


def test_weights_after_a_first_item_without_one_are_refused() -> None:
    items: list[Any] = [{"a": a, "b": b} for a, b in pairs(2)]
    items[1]["weight"] = torch.zeros(SIDE, SIDE)
    with raises_user_error("data") as caught:
        epochs(opened(items), 1)
    assert "the first item has none" in str(caught.value)
    items[0]["weight"] = torch.ones(SIDE, SIDE)
    assert sum(float(batch.weight_a.mean()) for batch in epochs(opened(items), 1)) == 0.5  # control


@pytest.mark.parametrize("domain", ["a", "b"])
def test_masks_of_files_are_refused(domain: str) -> None:
    with raises_user_error(f"data.{domain}.masks"):
        opened(pairs(2), **{domain: {"masks": "masks"}})
