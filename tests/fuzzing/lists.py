"""Lists of all data sets as they lie on a disk, damaged: a list that is accepted gives the rows that its text says.

What the text says is read by the strict readers below, which share no line with the data sets' own.
"""

import ast
import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torchvision.io import encode_jpeg

from bss.data.datasets import cremad, ks, nvgesture, sarcasm, twitter15
from bss.data.datasets.data_set import DataSet, find, read
from bss.data.transforms import video
from tests.fuzzing import mutations
from tests.fuzzing.outcome import Outcome, outcome_of

Rows = list[tuple[Any, ...]]
"""(name, label) of every row, and what else is trained on: text, term and picture, or the windows of the streams."""


class NotAListError(Exception):
    """The text is no list, read strictly."""


class Form(NamedTuple):
    """A form of a data set's lists.

    Attributes:
        data_set: the record.
        lists: place -> text, of the training and of the test list.
        rows: the strict reader.
        cells: what separates cells.
    """

    data_set: DataSet
    lists: dict[str, str]
    rows: Callable[[str], Rows]
    cells: str


# ---- strict readers ------------------------------------------------------------------------------------------------


def _text(content: bytes) -> str:
    if not content or content.startswith(b"version https://git-lfs") or b"\0" in content:
        raise NotAListError
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        raise NotAListError from None


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def _need(holds: object) -> None:
    if not holds:
        raise NotAListError


def _name(text: str) -> str:
    _need(text not in ("", ".", "..") and not re.search(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", text))
    _need(len(text.encode()) <= 255)
    return text


def _distinct(rows: Rows) -> Rows:
    _need(rows and len({row[0] for row in rows}) == len(rows))
    return rows


def _csv_rows(text: str, header: list[str]) -> Iterator[list[str]]:
    for number, line in enumerate(_lines(text)):
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], strict=True))]
        except csv.Error:
            raise NotAListError from None
        if number or [cell.lower() for cell in cells] != header:
            yield cells


def cremad_rows(text: str, separator: str | None = ",") -> Rows:
    lines = _csv_rows(text, ["name", "label"]) if separator else (line.split() for line in _lines(text))
    rows = []
    for cells in lines:
        _need(len(cells) == 2 and cells[1].upper() in cremad.CLASSES)
        name = cells[0][:-4] if cells[0].lower().endswith((".wav", ".flv", ".mp4")) else cells[0]
        rows.append((_name(name), cremad.CLASSES.index(cells[1].upper())))
    return _distinct(rows)


def ks_rows(text: str) -> Rows:
    rows = []
    for cells in _csv_rows(text, ["youtube_id", "label"]):
        _need(len(cells) in (2, 3))
        label = cells[-1].lower().replace("_", " ")
        if re.fullmatch("[0-9]{1,9}", label):
            number = int(label)
            _need(number < 31)
        else:
            _need(label in ks.CLASSES)
            number = ks.CLASSES.index(label)
        rows.append((_name(cells[0]), number))
    return _distinct(rows)


def nvgesture_rows(text: str) -> Rows:
    rows = []
    for line in _lines(text):
        pairs = [word.split(":", 1) for word in line.split()]
        _need(all(len(pair) == 2 for pair in pairs) and len({key for key, _ in pairs}) == len(pairs))
        cells = dict(pairs)
        _need({"path", "depth", "color", "label"} <= cells.keys() and re.fullmatch("[0-9]{1,4}", cells["label"]))
        windows = [re.fullmatch(r"([^:]+):([0-9]{1,9}):([0-9]{1,9})", cells[key]) for key in ("color", "depth")]
        _need(all(windows) and 1 <= int(cells["label"]) <= 25)
        streams = [(_name(found[1]), int(found[2]), int(found[3])) for found in windows if found]
        lengths = [stop - start for _, start, stop in streams]
        _need(lengths[0] == lengths[1] > 0 and "\\" not in cells["path"])
        parts = PurePosixPath(cells["path"]).parts
        _need(len(parts) >= 2 and parts[0] != "/" and ".." not in parts and "Video_data" not in parts[-2:])
        rows.append(("/".join(map(_name, parts[-2:])), int(cells["label"]) - 1, *streams))
    return _distinct(rows)


def _class(value: Any, classes: int, lowest: int = 0) -> int:
    if isinstance(value, str):
        _need(re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value))
        value = int(value)
    _need(type(value) is int and 0 <= value - lowest < classes)
    return int(value) - lowest


def _words(value: Any) -> str:
    _need(isinstance(value, str) and value.strip() and not re.search("[\ud800-\udfff]", value))
    return str(value)


def _picture(value: Any) -> str:
    _need(isinstance(value, str) and not value.startswith("/") and ".." not in value.split("/"))
    return _name(PurePosixPath(value).name)


def _stem(picture: str) -> str:
    return picture.rpartition(".")[0] if "." in picture.lstrip(".") else picture


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(len({key for key, _ in pairs}) == len(pairs))
    return dict(pairs)


def _id(value: Any) -> str:
    _need(0 <= value < 10**30 if type(value) is int else isinstance(value, str) and value)
    return f"{value}.jpg"


def sarcasm_json_rows(text: str) -> Rows:
    try:
        items = json.loads(text, object_pairs_hook=_no_twice)
    except (ValueError, RecursionError):
        raise NotAListError from None
    _need(isinstance(items, list))
    rows = []
    for item in items:
        _need(isinstance(item, dict) and {"text", "label"} <= item.keys() and item.keys() & {"image", "image_id"})
        image = _picture(item["image"] if "image" in item else _id(item["image_id"]))
        rows.append((_stem(image), _class(item["label"], 2), _words(item["text"]), "", image))
    return _distinct(rows)


def sarcasm_text_rows(text: str) -> Rows:
    rows = []
    for line in _lines(text):
        try:
            cells = ast.literal_eval(line.strip()) if len(line) <= 20_000 else None
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise NotAListError from None
        _need(isinstance(cells, list) and len(cells) in (3, 4))
        labels = [_class(cell, 2) for cell in cells[2:]]
        image = _picture(_id(cells[0]))
        rows.append((_stem(image), labels[-1], _words(cells[1]), "", image))
    _distinct(rows)
    kept = [row for row in rows if not set(row[2].split()) & sarcasm.GIVEAWAYS]
    return _distinct(kept)


def _tweets(cells: list[tuple[Any, Any, str, str]], lowest: int = 0) -> Rows:
    """Rows of (label, picture, text, term)."""
    shared: Counter[str] = Counter()
    rows, seen = [], set()
    for label, picture, text, term in cells:
        picture = _picture(picture)
        row = (picture, _words(text), term)
        _need(not term or row not in seen)
        seen.add(row)
        shared[_stem(picture)] += 1
        rows.append((f"{_stem(picture)}-{shared[_stem(picture)]}", _class(label, 3, lowest), text, term, picture))
    return _distinct(rows)


def twitter_tsv_rows(text: str) -> Rows:
    lines = [[cell.strip() for cell in line.split("\t")] for line in _lines(text)]
    _need(len(lines) > 1)
    header, *rows = lines
    names = [name.lower() for name in header]
    if names[0] == "index" and any(name.startswith("#") for name in names):
        width, at = 5, {"label": 1, "imageid": 2, "string": 3, "target": 4}
    else:
        width = len(names)
        _need(all(names.count(name) == 1 for name in ("label", "imageid")) and "string" in names)
        at = {name: names.index(name) for name in ("label", "imageid", "string")}
        columns = [i for i, name in enumerate(names) if name in ("target", "aspect")]
        columns += [i for i, name in enumerate(names) if name == "string"][1:]
        at |= {"target": columns[0]} if columns else {}
    _need(all(len(row) == width for row in rows))
    terms = [_words(row[at["target"]]) if "target" in at else "" for row in rows]
    cells = [tuple(row[at[name]] for name in ("label", "imageid", "string")) for row in rows]
    return _tweets([(*row, term) for row, term in zip(cells, terms, strict=True)])


def twitter_txt_rows(text: str) -> Rows:
    lines = re.split(r"\r\n|\r|\n", text)
    while lines and not lines[-1].strip():
        lines.pop()
    _need(lines and len(lines) % 4 == 0 and all(line.strip() for line in lines))
    cells = [line.strip() for line in lines]
    records = [cells[i : i + 4] for i in range(0, len(cells), 4)]
    return _tweets([(label, picture, text, term) for text, term, label, picture in records], lowest=-1)


# ---- whole lists ---------------------------------------------------------------------------------------------------


def _forms() -> dict[str, Form]:
    words = ("so great", 'a "quoted" day', "#fun, they said", "caf\u00e9 \u2764 \u4f60", "it's $T$ again")
    clips = [f"10{i:02d}_IEO_{label}_XX" for i in range(4) for label in cremad.CLASSES]
    videos = [f"{i:02d}-ihtnBU_x_{i:06d}_{i + 10:06d}" for i in range(24)]
    gestures = [
        f"path:./Video_data/class_{i + 1:02d}/subject{i % 3}_r{i} depth:sk_depth:1:5 color:sk_color:2:6 label:{i + 1} "
        for i in range(24)
    ]
    posts = [(str(86290 + i), words[i % 5] if i != 3 else "so sarcasm", i % 2) for i in range(24)]
    tweets = [(i // 2, words[i % 5].replace("$T$", "it") + " $T$", f"term {i}", i % 3) for i in range(24)]

    def split(lines: list[str], head: str = "", joint: str = "\n", tail: str = "\n") -> list[str]:
        return [head + joint.join(part) + tail for part in (lines[:16], lines[16:])]

    def named(places: tuple[str, str], texts: list[str]) -> dict[str, str]:
        return dict(zip(places, texts, strict=True))

    labels = [name.split("_")[2] for name in clips]
    as_json = [json.dumps({"image": f"{name}.jpg", "text": text, "label": label}) for name, text, label in posts]
    as_ids = [json.dumps({"image_id": int(name), "text": text, "label": label}) for name, text, label in posts]
    rows = [f"{i}\t{label}\t{image}.jpg\t{text}\t{term}" for i, (image, text, term, label) in enumerate(tweets)]
    records = [f"{text}\n{term}\n{label - 1}\n{image}.jpg" for image, text, term, label in tweets]
    by_name = [f"{row.split(chr(9))[1]}\t{chr(9).join(row.split(chr(9))[2:])}" for row in rows]
    tombert = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n"
    train_and_test = [("annotations/train.csv", "annotations/test.csv"), ("my_train_cre.txt", "my_test_cre.txt")]
    with_seconds = [f"{video},10,{i}" for i, video in enumerate(videos)]
    with_names = [f"{video},{ks.CLASSES[i]}" for i, video in enumerate(videos)]
    lst = ("nvgesture_train_correct_v2.lst", "nvgesture_test_correct_v2.lst")
    finished = ("annotations/train_data.json", "annotations/test_data.json")
    mmsd = ("text_json_final/train.json", "text_json_final/test.json")
    original = [repr([name, text, label]) for name, text, label in posts]
    twice = [repr([name, text, 1 - label, label]) for name, text, label in posts]
    tsv, txt = ("annotations/train.tsv", "annotations/test.tsv"), ("annotations/train.txt", "annotations/test.txt")
    return {
        "cremad csv": Form(
            cremad.DATA_SET,
            named(train_and_test[0], split([f"{c},{x}" for c, x in zip(clips, labels, strict=True)])),
            cremad_rows,
            ",",
        ),
        "cremad txt": Form(
            cremad.DATA_SET,
            named(train_and_test[1], split([f"{c}.flv {x.title()}" for c, x in zip(clips, labels, strict=True)])),
            lambda text: cremad_rows(text, None),
            " ",
        ),
        "ks csv": Form(
            ks.DATA_SET, named(train_and_test[0], split(with_names, head="youtube_id,label\n")), ks_rows, ","
        ),
        "ks txt": Form(ks.DATA_SET, named(("my_train.txt", "my_test.txt"), split(with_seconds)), ks_rows, ","),
        "nvgesture lst": Form(nvgesture.DATA_SET, named(lst, split(gestures)), nvgesture_rows, " "),
        "sarcasm json": Form(
            sarcasm.DATA_SET,
            named(finished, split(as_json, head="[\n", joint=",\n", tail="\n]\n")),
            sarcasm_json_rows,
            ",",
        ),
        "mmsd json": Form(
            sarcasm.DATA_SET, named(mmsd, split(as_ids, head="[", joint=", ", tail="]")), sarcasm_json_rows, ","
        ),
        "sarcasm txt": Form(
            sarcasm.DATA_SET,
            named(("train.txt", "test2.txt"), [split(original)[0], split(twice)[1]]),
            sarcasm_text_rows,
            ",",
        ),
        "twitter15 tsv": Form(twitter15.DATA_SET, named(tsv, split(rows, head=tombert)), twitter_tsv_rows, "\t"),
        "twitter15 names": Form(
            twitter15.DATA_SET,
            named(tsv, split(by_name, head="Label\tImageID\tString\tTarget\n")),
            twitter_tsv_rows,
            "\t",
        ),
        "twitter15 txt": Form(twitter15.DATA_SET, named(txt, split(records)), twitter_txt_rows, " "),
    }


class Subject:
    """A tree for every form, with the smallest media that pass; every case damages one list."""

    def __init__(self, folder: Path):
        self.folder, self.forms = folder, _forms()
        soundfile.write(folder / "x.wav", np.zeros(8), 8000)
        (folder / "x.jpg").write_bytes(encode_jpeg(torch.zeros(3, 8, 8, dtype=torch.uint8)).numpy().tobytes())
        video.write_video(folder / "x.avi", np.zeros((6, 16, 16, 3), np.uint8))
        np.save(folder / "x.npy", np.zeros((4, 2, 8, 8), np.int8))
        for title, form in self.forms.items():
            self._write_lists(title)
            for split in ("train", "test"):
                for sample in read(form.data_set, folder / title, split):
                    for place, source in _media(form.data_set, sample, split):
                        target = folder / title / place
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(folder / source, target)
        for title, form in self.forms.items():
            for split, text in zip(("train", "test"), form.lists.values(), strict=True):
                assert self.accepted(title, split)[0] == form.rows(text), title

    def _write_lists(self, title: str) -> None:
        for place, text in self.forms[title].lists.items():
            path = self.folder / title / place
            if path.is_dir():
                mutations.remove(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")

    def accepted(self, title: str, split: str) -> tuple[Rows, list[str]]:
        """The rows that training gets, and the names that are left out by name."""
        form, root = self.forms[title], self.folder / title
        samples, dropped = find(form.data_set, root, split, missing="drop")
        return [_row(sample) for sample in samples], dropped

    def case(self, generator: np.random.Generator) -> Outcome:
        """Damage one list and read it as training does."""
        title = sorted(self.forms)[int(generator.integers(len(self.forms)))]
        form = self.forms[title]
        self._write_lists(title)
        at = int(generator.integers(2))
        path, split = self.folder / title / list(form.lists)[at], ("train", "test")[at]
        mutation = f"{title}: {_damage(path, form, generator)}"

        def differences(found: tuple[Rows, list[str]]) -> str:
            rows, dropped = found
            try:
                said = form.rows(_text(path.read_bytes()))
            except NotAListError:
                return f"accepted, and it is no list: {rows}"
            kept = [row for row in said if row[0] not in dropped]
            if rows != kept or set(dropped) - {row[0] for row in said}:
                return f"read {sorted(set(rows) - set(kept))}, said {sorted(set(kept) - set(rows))}, dropped {dropped}"
            return ""

        return outcome_of(mutation, lambda: self.accepted(title, split), differences)


def _row(sample: Any) -> tuple[Any, ...]:
    if isinstance(sample, nvgesture.GestureClip):
        streams = [(stream.name, stream.start, stream.stop) for stream in (sample.color, sample.depth)]
        return (sample.name, sample.label, *streams)
    if hasattr(sample, "image"):
        return sample.name, sample.label, sample.text, sample.target, sample.image
    return sample.name, sample.label


def _media(data_set: DataSet, sample: Any, split: str) -> list[tuple[str, str]]:
    """Places of a sample's files, and which small file is put there."""
    if data_set is cremad.DATA_SET:
        return [(f"AudioWAV/{sample.name}.wav", "x.wav"), (f"Image-01-FPS/{sample.name}/1.jpg", "x.jpg")]
    if data_set is ks.DATA_SET:
        frames = f"{split}_img/Image-01-FPS/{sample.name}/1.jpg"
        return [(f"{split}_wav/{sample.name}.wav", "x.wav"), (frames, "x.jpg")]
    if data_set is nvgesture.DATA_SET:
        videos = [(f"Video_data/{sample.name}/sk_{kind}.avi", "x.avi") for kind in ("color", "depth")]
        return [*videos, (sample.flow_place, "x.npy")]
    return [(f"{data_set.image_folders[0]}/{sample.image}", "x.jpg")]  # type: ignore[attr-defined]


# ---- damage --------------------------------------------------------------------------------------------------------


def _damage(path: Path, form: Form, generator: np.random.Generator) -> str:
    ways = [mutations.damage_bytes, mutations.damage_lines, mutations.damage_lines, mutations.damage_entry]
    ways += [mutations.damage_json] * 3 if path.suffix == ".json" else []
    number = int(generator.integers(len(ways) + 5))
    if number < len(ways):
        return ways[number](path, generator)
    return _damage_cell(path, form.cells, generator) if number < len(ways) + 4 else _rewrite(path, generator)


def _damage_cell(path: Path, separator: str, generator: np.random.Generator) -> str:
    """Change, drop, double or swap a cell of a line."""
    lines = path.read_bytes().decode().split("\n")
    at = int(generator.integers(len(lines)))
    cells = lines[at].split(separator)
    one, other = (int(generator.integers(len(cells))) for _ in range(2))
    way = generator.choice(["odd", "drop", "double", "swap", "case", "space", "digit", "quote", "neighbour"])
    if way == "odd":
        cells[one] = str(mutations.ODD_VALUES[int(generator.integers(len(mutations.ODD_VALUES)))])
    elif way == "drop":
        del cells[one]
    elif way == "double":
        cells.insert(other, cells[one])
    elif way == "swap":
        cells[one], cells[other] = cells[other], cells[one]
    elif way == "case":
        cells[one] = cells[one].swapcase()
    elif way == "space":
        cells[one] = f"\u00a0{cells[one]} \u2028"
    elif way == "digit":
        cells[one] = re.sub("[0-9]", lambda found: chr(0x660 + int(found[0])), cells[one])
    elif way == "quote":
        cells[one] = f'"{cells[one]}"' if generator.random() < 0.5 else f'{cells[one]}"'
    else:
        neighbour = lines[int(generator.integers(len(lines)))].split(separator)
        cells[one] = neighbour[min(one, len(neighbour) - 1)]
    lines[at] = separator.join(cells)
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    return f"{path.name}: {way} cell {one + 1} of line {at + 1}"


def _rewrite(path: Path, generator: np.random.Generator) -> str:
    """Save the whole list as another program would."""
    text = path.read_text(encoding="utf-8")
    way = generator.choice(["utf-16", "utf-8-sig", "latin-1", "crlf", "cr", "no end", "spaces"])
    if way in ("utf-16", "utf-8-sig", "latin-1"):
        path.write_bytes(text.encode(str(way), "replace"))
    elif way in ("crlf", "cr"):
        path.write_bytes(text.replace("\n", "\r\n" if way == "crlf" else "\r").encode())
    else:
        path.write_bytes((text.rstrip() if way == "no end" else text.replace("\n", " \n\n")).encode())
    return f"{path.name}: {way}"
