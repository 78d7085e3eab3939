"""Caches of decoded files, damaged: whatever a data set hands out is what its files say, or an error that names one."""

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from bss.data.synthetic.cremad import write_sample
from bss.data.synthetic.signals import ClipSizes
from bss.recipes.fields import override
from bss.tasks import cremad as task
from tests.fuzzing import mutations
from tests.fuzzing.outcome import Outcome, outcome_of

SMALL = ["seconds=0.2", "image_size=24", "width=4", "val_fraction=0.34"]
DTYPES = ("float32", "int8", "uint64", "U8", "bool", "complex64")


class Subject:
    """A generated CREMA-D with its cache, made once; every case damages a copy of the cache, or a file behind it."""

    def __init__(self, folder: Path):
        self.root, self.pristine = folder / "data", folder / "pristine"
        write_sample(self.root, ClipSizes(per_class=3, test_per_class=1, seconds=0.2, image_size=24))
        self.cache = self.root / ".bss-cache"
        self.read(cached=True)
        shutil.copytree(self.cache, self.pristine)
        self.expected = self.read(cached=False)

    def read(self, *, cached: bool) -> list[np.ndarray]:
        """Every sample's numbers, twice over: the second look at an entry goes another way than the first."""
        data = task.build_data(override(task.CL, SMALL if cached else [*SMALL, "cache=none"]), self.root)
        if data.cache is not None:
            line = data.cache.build(workers=0)
            assert "\n" not in line, line
        arrays = []
        for part in (data.score, data.val, data.test):
            assert part is not None
            for index in [*range(len(part)), *range(len(part))]:
                sample = part[index]
                arrays += [sample["audio"].waveform_T, *(view.pixels_HWC for view in sample["visual"].views)]
                arrays.append(np.array(sample["label"]))
        return [np.array(array) for array in arrays]

    def case(self, generator: np.random.Generator) -> Outcome:
        """Damage one thing, open the data set and read all of it."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.unlink(missing_ok=True)
        shutil.copytree(self.pristine, self.cache)
        ways = [_bytes, _bytes, _entry, _index, _index, _medium]
        way = ways[int(generator.integers(len(ways)))]
        if way is not _medium:
            return outcome_of(way(self.cache, generator), lambda: self.read(cached=True), self._differences)
        kind = sorted(path for path in self.root.rglob("*") if path.suffix in (".wav", ".jpg"))
        path = kind[int(generator.integers(len(kind)))]
        before, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        try:
            mutation = _medium(path, generator)
            return self._as_without_a_cache(mutation)
        finally:
            path.write_bytes(before)
            os.utime(path, ns=times)

    def _as_without_a_cache(self, mutation: str) -> Outcome:
        """A file behind the cache was changed: the answer is that of a run that has no cache."""
        try:
            plain = self.read(cached=False)
        except ValueError as error:
            refusal = f"accepted; without a cache: {error}"
            return outcome_of(mutation, lambda: self.read(cached=True), lambda _: refusal)
        return outcome_of(mutation, lambda: self.read(cached=True), lambda found: _difference(plain, found))

    def _differences(self, found: list[np.ndarray]) -> str:
        return _difference(self.expected, found)


def _difference(expected: list[np.ndarray], found: list[np.ndarray]) -> str:
    if len(expected) != len(found):
        return f"{len(found)} arrays in place of {len(expected)}"
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one.dtype != other.dtype or not np.array_equal(one, other):
            return f"array {number} differs"
    return ""


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".data", ".index"))


def _bytes(folder: Path, generator: np.random.Generator) -> str:
    files = _files(folder)
    return mutations.damage_bytes(files[int(generator.integers(len(files)))], generator)


def _entry(folder: Path, generator: np.random.Generator) -> str:
    files = [*_files(folder), folder / ".lock"]
    path = files[int(generator.integers(len(files)))]
    return mutations.damage_entry(path, generator)


def _index(folder: Path, generator: np.random.Generator) -> str:
    """An index that is a sound zip file and says something else."""
    indexes = [path for path in _files(folder) if path.suffix == ".index"]
    path = indexes[int(generator.integers(len(indexes)))]
    with np.load(path) as archive:
        content: dict[str, Any] = dict(archive)
    name = sorted(content)[int(generator.integers(len(content)))]
    array = content[name]
    way = generator.choice(["drop", "dtype", "shape", "value", "reverse", "roll", "huge", "negative", "empty", "nest"])
    if way == "drop":
        del content[name]
    elif way == "dtype":
        with warnings.catch_warnings(action="ignore"):
            content[name] = array.astype(DTYPES[int(generator.integers(len(DTYPES)))])
    elif way == "shape":
        content[name] = array.reshape(-1)[:, None]
    elif way == "value" and array.size:
        flat = array.copy().reshape(-1)
        flat[int(generator.integers(flat.size))] += np.array(1, flat.dtype)
        content[name] = flat.reshape(array.shape)
    elif way == "reverse" and array.ndim:
        content[name] = array[::-1]
    elif way == "roll" and array.ndim:
        content[name] = np.roll(array, 1, axis=0)
    elif way in ("huge", "negative"):
        content[name] = np.full_like(array, 2**62 if way == "huge" and array.dtype == np.int64 else 255)
        content[name] = -content[name].astype(np.int64) if way == "negative" else content[name]
    elif way == "empty":
        content[name] = array.reshape(-1)[:0]
    else:
        content[f"{name}x"] = content.pop(name)
    with open(path, "wb") as file:
        np.savez(file, **content)
    return f"{path.name}: {name} {way}"


def _medium(path: Path, generator: np.random.Generator) -> str:
    """Other content of the same size and time, or of another."""
    times, before = path.stat(), path.read_bytes()
    if generator.random() < 0.7:
        content = bytearray(before)
        at = int(generator.integers(len(content)))
        content[at] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        done = f"{path.name}: flip at {at}"
    else:
        done = mutations.damage_bytes(path, generator)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return f"{done}, at the same time"
