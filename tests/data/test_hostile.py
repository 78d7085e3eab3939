"""Files made to do harm are refused by name, or read right, in bounded time and memory, and nothing in them runs."""

import io
import json
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from bss.compare.arms import ARMS
from bss.data import safe_pickle
from bss.data.datasets import cremad, ks, nvgesture, sarcasm, twitter15
from bss.data.datasets.data_set import find
from bss.data.datasets.data_set import read as read_split
from bss.data.datasets.listing import checked_name, natural
from bss.data.synthetic.signals import write_text_model
from bss.data.transforms import audio, image, text, video
from bss.recipes.fields import flatten, override
from bss.tasks import cremad as cremad_task
from bss.training.run_folder import read_checkpoint
from bss.utils import filesystem
from bss.utils.errors import BssError, DataError, RecipeError, shown
from tests import fake_windows

RATE = 8000


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ------------------------------------------------------------------------------------------------ nothing runs


class Exploit:
    """Pickles to a program that makes a folder."""

    def __init__(self, how: str, proof: Path):
        self.how, self.proof = how, str(proof)

    def __reduce__(self):
        code = f"__import__('os').mkdir({self.proof!r})"
        return {
            "os.system": (os.system, (f"mkdir {self.proof}",)),
            "eval": (eval, (code,)),
            "exec": (exec, (code,)),
            "a chain": (getattr, (Exploit("import", self.proof), "mkdir")),
            "import": (__import__, ("os",)),
            "mkdir": (os.mkdir, (self.proof,)),
        }[self.how]


WAYS = ["os.system", "eval", "exec", "a chain", "mkdir"]


def torch_file(content: object, form: str) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=form == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("how", WAYS)
def test_a_payload_in_a_torch_file_is_refused_wherever_such_files_are_read(tmp_path, how, form):
    proof = tmp_path / "owned"
    content = torch_file({"waveform": torch.zeros(400), "sample_rate": RATE, "x": Exploit(how, proof)}, form)
    for read in (lambda path: audio.read_audio(path, RATE), filesystem.load_tensors, read_checkpoint):
        with pytest.raises(BssError, match=r"clip\.pt.*(readable|torn|refused)"):
            read(put(tmp_path / "clip.pt", content))
    assert not proof.exists()


@pytest.mark.parametrize("how", WAYS)
def test_a_payload_in_an_array_file_is_refused(tmp_path, how):
    proof = tmp_path / "owned"
    array = np.empty(1, dtype=object)
    array[0] = Exploit(how, proof)
    np.save(tmp_path / "clip.npy", array, allow_pickle=True)
    for read in (lambda path: audio.read_audio(path, RATE), lambda path: video.read_flow(path, 1, slice(0, 1))):
        with pytest.raises(DataError, match=r"clip\.npy: not a readable npy file: (Object arrays|.*Python objects)"):
            read(tmp_path / "clip.npy")
    assert not video.holds_packed_flow(tmp_path / "clip.npy", (1,))
    assert not proof.exists()


def test_these_payloads_do_run_where_nobody_refuses_them(tmp_path):
    for number, how in enumerate(("os.system", "eval", "exec", "mkdir")):
        pickle.loads(pickle.dumps(Exploit(how, tmp_path / str(number))))
        assert (tmp_path / str(number)).is_dir()
    np.save(tmp_path / "x.npy", np.array([Exploit("mkdir", tmp_path / "npy")], dtype=object), allow_pickle=True)
    np.load(tmp_path / "x.npy", allow_pickle=True)
    torch.load(put(tmp_path / "x.pt", torch_file(Exploit("mkdir", tmp_path / "pt"), "zip")), weights_only=False)
    assert (tmp_path / "npy").is_dir() and (tmp_path / "pt").is_dir()


def test_a_pickle_that_is_renamed_to_another_kind_does_not_run(tmp_path):
    payload = pickle.dumps(Exploit("mkdir", tmp_path / "owned"), 2)
    for suffix in audio.AUDIO_SUFFIXES:
        with pytest.raises(DataError):
            audio.read_audio(put(tmp_path / f"clip{suffix}", payload), RATE)
    with pytest.raises(BssError):
        read_checkpoint(tmp_path / "clip.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "line", ["__import__('os').mkdir({!r})", "['1', 'a', __import__('os').mkdir({!r})]", "f'{{0}}'"]
)
def test_a_line_of_python_is_not_run(tmp_path, line):
    with pytest.raises(DataError, match="line 1: expected a line like"):
        sarcasm.read_list(put(tmp_path / "train.txt", line.format(str(tmp_path / "owned")) + "\n"))
    assert not (tmp_path / "owned").exists()


AUTO_MAP = {"AutoConfig": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"], "AutoModel": "evil.Evil"}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_in_the_folder_of_a_text_model_is_neither_run_nor_asked_about(tmp_path, name, monkeypatch):
    write_text_model(tmp_path / "model", ["hello world"])
    put(tmp_path / "model" / "evil.py", f"import os\nos.mkdir({str(tmp_path / 'owned')!r})\nclass Evil: pass\n")
    content = json.loads((tmp_path / "model" / name).read_text())
    content |= {"model_type": "evil", "auto_map": AUTO_MAP} if name == "config.json" else {"auto_map": AUTO_MAP}
    put(tmp_path / "model" / name, json.dumps(content))

    def asked(question=""):
        pytest.fail(f"asked: {question}")

    monkeypatch.setattr("builtins.input", asked)
    try:
        tokenizer = text.load_tokenizer("model", tmp_path)
    except DataError as error:
        assert name == "config.json" and "is not a whole text model" in str(error)
    else:
        assert name != "config.json" and "Bert" in type(tokenizer).__name__
    assert not (tmp_path / "owned").exists()


ODD_JSON = [
    *(("tokenizer.json", content) for content in ("[]", "{}", "5", "null", '{"model": {"type": "x"}}', "[" * 10**5)),
    *(("tokenizer_config.json", content) for content in ("[]", "5", '{"tokenizer_class": 5}', '{"unk_token": 5}')),
    ("tokenizer_config.json", '{"tokenizer_class": "BertTokenizer", "model_max_length": "x"}'),
    ("tokenizer_config.json", '{"tokenizer_class": "BertTokenizer", "added_tokens_decoder": {"x": 5}}'),
    *(("config.json", content) for content in ("[]", "5", "null", '{"model_type": 5}', '{"a": ' * 50_000)),
    ("config.json", '{"model_type": "bert", "vocab_size": "x"}'),
    ("config.json", '{"model_type": "bert", "vocab_size": 1e400}'),
    ("special_tokens_map.json", "[]"),
    ("added_tokens.json", "[]"),
]


@pytest.mark.parametrize("name, content", ODD_JSON, ids=range(len(ODD_JSON)))
def test_a_text_model_with_any_other_json_is_a_data_error(tmp_path, name, content):
    write_text_model(tmp_path / "model", ["hello world"])
    put(tmp_path / "model" / name, content)
    with pytest.raises(DataError, match=r"(?s)^text_model=model: .{,600}$"):
        text.load_tokenizer("model", tmp_path)


# ------------------------------------------------------------------------------------- paths stay in the data root

LEAVING = [
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../x",
    "..",
    ".",
    "C:\\x",
    "..\\x",
    "a\\..\\..\\x",
    "//host/x",
]
NEVER_FILES = ["x" * 256, "\u00e4" * 128, "a\x07b", "a\x7fb"]


@pytest.mark.parametrize("name", [*LEAVING, *NEVER_FILES])
def test_no_name_of_any_list_leaves_the_data_root_or_is_none(tmp_path, name):
    gesture = "path:{} depth:sk_depth:0:80 color:{}:0:80 label:1\n"
    inside = "./Video_data/class_01/a"
    found = [
        (cremad.read_list, "train.csv", f"{name},NEU\n"),
        (cremad.read_list, "train.txt", f"{name} NEU\n"),
        (ks.read_list, "train.csv", f"youtube_id,label\n{name},bowling\n"),
        (sarcasm.read_list, "train.json", json.dumps([{"image": f"images/{name}", "text": "a", "label": 1}])),
        (sarcasm.read_list, "train.json", json.dumps([{"image_id": name, "text": "a", "label": 1}])),
        (sarcasm.read_list, "train.txt", f"{[name, 'a', 1]!r}\n"),
        (twitter15.read_list, "train.tsv", f"Label\tImageID\tString\n1\t{name}\ttext\n"),
        (twitter15.read_list, "train.txt", f"text\nterm\n1\n{name}\n"),
        (nvgesture.read_list, "train.lst", gesture.format(inside, name)),
        (nvgesture.read_list, "train.lst", gesture.format(f"./Video_data/{name}/a", "sk_color")),
        (nvgesture.read_list, "train.lst", gesture.format(f"./Video_data/class_01/{name}", "sk_color")),
    ]
    for read, file, content in found:
        path = put(tmp_path / file, content)
        try:
            samples = read(path)
        except DataError as error:
            assert str(error).startswith(f"{path} ") and len(str(error)) < len(str(path)) + 400
            continue
        # What is taken all the same is a name without the folders: "images/x/.." names nothing outside either.
        for sample in samples:
            names = [sample.image, sample.name] if hasattr(sample, "image") else sample.name.split("/")
            assert all(checked_name(part, "") == part for part in names) and name not in NEVER_FILES


@pytest.mark.parametrize("name", [*LEAVING[:5], *LEAVING[6:9], *NEVER_FILES, "\ud83d", "a\nb", "a\0b", ""])
def test_a_name_is_no_path_and_one_that_a_file_can_have(name):
    with pytest.raises(DataError, match=r"^list line 3: the name ") as caught:
        checked_name(name, "list line 3")
    assert str(caught.value).isascii() or "\u00e4" in name


@pytest.mark.parametrize("name", ["x" * 255, "--4-0ihtnBU_000058", "\u00e4\u00f6", ".hidden", "a b", "..a", "con"])
def test_a_usual_name_is_a_name(name):
    assert checked_name(name, "") == name


ON_WINDOWS = ["C:evil", "a:b", "NUL", "CON.wav", "com1", "lpt9.tar.gz", "a.", "a ", "a?", "a*", "COM\u00b9", "nul .txt"]


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_a_drive_a_stream_and_a_device_are_refused_on_windows_and_names_elsewhere(name):
    with pytest.raises(DataError, match=r"^list line 3: the name .* is none of a file on Windows: ") as caught:
        checked_name(name, "list line 3", windows=True)
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)
    assert checked_name(name, "", windows=False) == name


@pytest.mark.parametrize("name", ["1088_IOM_NEU_XX", "--4-0ihtnBU_000058", "console", "com", "com10", "a.b", ".hidden"])
def test_a_usual_name_is_one_on_windows_too(name):
    assert checked_name(name, "", windows=True) == name


def test_what_windows_cannot_have_in_a_folder_is_found(tmp_path):
    for name in ("a/fine.wav", "a/B.txt", "a/b.txt", "nul.txt", "x:y", "end."):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {os.path.relpath(path, tmp_path).lower() for path in fake_windows.impossible_names(tmp_path)}
    assert found == {"a/b.txt", "nul.txt", "x:y", "end."}


@pytest.mark.parametrize("name", [*(arm.name for arm in ARMS), "spl+ogm-ge"])
def test_the_folder_of_every_arm_can_be_made_on_windows(name):
    assert checked_name(name, "", windows=True) == name


@pytest.mark.parametrize("name", ["//host/share/x", "\\\\host\\share\\x", "C:\\x", "..\\x"])
@pytest.mark.parametrize("windows", [False, True])
def test_a_network_path_and_a_backslash_are_refused_everywhere(name, windows):
    with pytest.raises(DataError, match="leaves the data root"):
        checked_name(name, "list line 3", windows=windows)


def test_a_link_in_the_tree_is_followed_wherever_it_leads(tmp_path):
    # Whoever made the tree put it there: data sets are assembled from links to other disks. A list cannot make one.
    outside, root = tmp_path / "disk", tmp_path / "root"
    put(root / "annotations" / "train.csv", "a_IEO_NEU_XX,NEU\n")
    (outside / "a_IEO_NEU_XX").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(outside / "a_IEO_NEU_XX" / "00000.jpg")
    soundfile.write(outside / "a_IEO_NEU_XX.wav", np.zeros(400), RATE)
    (root / "AudioWAV").symlink_to(outside)
    (root / "Image-01-FPS").symlink_to(outside)
    (clip,), dropped = find(cremad.DATA_SET, root, "train")
    assert clip.audio == root / "AudioWAV" / "a_IEO_NEU_XX.wav" and len(clip.frames) == 1 and not dropped


def test_a_link_that_leads_nowhere_or_to_itself_is_a_missing_file(tmp_path):
    put(tmp_path / "annotations" / "train.csv", "a_IEO_NEU_XX,NEU\n")
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "a_IEO_NEU_XX.wav").symlink_to("a_IEO_NEU_XX.wav")
    (tmp_path / "Image-01-FPS").mkdir()
    (tmp_path / "Image-01-FPS" / "a_IEO_NEU_XX").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BssError, match="of 1 samples 1 have no audio and 1 have no frames"):
        find(cremad.DATA_SET, tmp_path, "train")


def test_a_path_too_long_for_any_file_is_a_missing_clip(tmp_path):
    deep = "/".join(["d" * 200] * 40)
    (tmp_path / "d" / ("d" * 200)).mkdir(parents=True)
    line = f"path:./d/{deep}/class_01/a depth:sk_depth:0:80 color:sk_color:0:80 label:1\n"
    put(tmp_path / "nvgesture_train_correct_cvpr2016_v2.lst", line)
    (clip,) = read_split(nvgesture.DATA_SET, tmp_path, "train")
    assert not any(clip.files.values())


# ------------------------------------------------------------------------------------------------ numbers and texts


def test_digits_of_other_scripts_sort_as_text():
    names = ["1\u00b23.jpg", "1a3.jpg", "\u0663.jpg", "10.jpg", "9.jpg", "\u00b2.jpg"]
    expected = ["1a3.jpg", "1\u00b23.jpg", "9.jpg", "10.jpg", "\u00b2.jpg", "\u0663.jpg"]
    assert sorted(names, key=natural) == expected


NINES, HEX = "9" * 5000, "0x" + "f" * 5000


JSON = '[{{"image{}": {}, "text": "a", "label": {}}}]'.format
TSV = "Label\tImageID\tString\n{}\t1.jpg\ta\n".format
LONG_CELLS = [
    (ks.read_list, "train.csv", f"a,{NINES}\n", "line 1: class number 9999"),
    (sarcasm.read_list, "train.json", JSON("", '"1.jpg"', NINES), "more than 4,300 digits"),
    (sarcasm.read_list, "train.json", JSON("", '"1.jpg"', "1e999"), "the label is inf"),
    (sarcasm.read_list, "train.json", JSON("_id", "9" * 4000, 1), "up to 30 digits"),
    (sarcasm.read_list, "train.json", JSON("_id", -5, 1), "up to 30 digits: -5"),
    (sarcasm.read_list, "train.txt", f"[{HEX}, 'a', 1]\n", "line 1: the id of the image is no number"),
    (sarcasm.read_list, "train.txt", f"['1', 'a', {HEX}]\n", "the label is a int with a number of thousands"),
    (sarcasm.read_list, "train.txt", f"['1', [{HEX}], 1]\n", "the text is a list with a number of thousands"),
    (sarcasm.read_list, "train.txt", "['\\ud83d', 'a', 1]\n", r"the name '\\ud83d\.jpg' is none of a file"),
    (twitter15.read_list, "train.tsv", TSV(NINES), "line 2: the label is '999"),
    (twitter15.read_list, "train.tsv", TSV("1_0"), "line 2: the label is '1_0'"),
    (twitter15.read_list, "train.txt", "a\nb\n\u0661\n1.jpg\n", "line 1: the label is '\u0661'"),
    (nvgesture.read_list, "a.lst", f"path:a/b depth:x:0:8 color:y:0:8 label:{NINES}\n", "the label must be"),
    (nvgesture.read_list, "a.lst", f"path:a/b depth:x:0:8 color:y:0:{NINES} label:1\n", "color must be name:start"),
    (cremad.read_list, "train.csv", f"a,{'J' * 100_000}\n", "line 1: unknown label 'JJJ"),
    (cremad.read_list, "train.csv", f"a,{'J' * 200_000}\n", "line 1: not a csv row: field larger than"),
    (twitter15.read_list, "train.tsv", "x\t" * 10_000 + "\n", "line 1: the header is 'x', 'x'"),
]


@pytest.mark.parametrize("read, file, content, words", LONG_CELLS, ids=range(len(LONG_CELLS)))
def test_a_number_or_cell_of_any_length_is_an_error_of_one_line(tmp_path, read, file, content, words):
    with pytest.raises(DataError, match=words) as caught:
        read(put(tmp_path / file, content))
    assert len(str(caught.value)) < len(str(tmp_path)) + 400 and "\n" not in str(caught.value)


SHOWN = {"'a'": "a", "'" + "a" * 56 + "...": "a" * 100, "a int with a number of thousands of digits": 10**5000}


def test_a_value_is_shown_in_sixty_characters():
    assert [shown(value) for value in SHOWN.values()] == list(SHOWN)


def test_json_nested_a_hundred_thousand_deep_is_refused(tmp_path):
    for text_ in ("[" * 10**5, '{"a":' * 10**5, '[{"image": ' + "[" * 10**5):
        with pytest.raises(DataError, match="nested too deeply"):
            sarcasm.read_list(put(tmp_path / "train.json", text_))


ODD_ASSIGNMENTS = [
    *(f"epochs={value}" for value in (NINES, HEX, "\u00b2", "1e999", "--1", "0" * 5000 + "x", "nan", "1\n2", "")),
    *(f"lr={value}" for value in (NINES * 2, "1e-400", "0x1p3", "-0", "\u0661e999", "1;import os", "$(id)")),
    *("=", "=1", "epochs", "\0=1", "__class__=1", "schedule.__class__=int", "schedule=1", "schedule.schedule=1"),
    *("../epochs=1", "epochs.real=1", "x" * 10**6, f"optimizer={'x' * 10**6}", "schedule.rescore=" + NINES),
]


@pytest.mark.parametrize("assignment", ODD_ASSIGNMENTS, ids=range(len(ODD_ASSIGNMENTS)))
def test_an_odd_assignment_is_a_recipe_error_of_bounded_length(assignment):
    with pytest.raises(RecipeError) as caught:
        override(cremad_task.CL, [assignment])
    assert len(str(caught.value)) < 1500


def test_the_last_of_a_hundred_thousand_assignments_wins():
    assert flatten(override(cremad_task.CL, ["epochs=1"] * 2000 + ["epochs=7"]))["epochs"] == 7


# ------------------------------------------------------------------------------------------------ pickles


def tuples(depth: int) -> tuple:
    value = (1,)
    for _ in range(depth):
        value = (value, value)
    return value


def keyed(key: bytes, how: str) -> bytes:
    """A pickle of a dict or set with one key, given as the opcodes that make it."""
    return {
        "setitem": b"\x80\x04}" + key + b"K\x01s.",
        "setitems": b"\x80\x04}(" + key + b"K\x01u.",
        "dict": b"\x80\x04(" + key + b"K\x01d.",
        "additems": b"\x80\x04\x8f(" + key + b"\x90.",
        "frozenset": b"\x80\x04(" + key + b"\x91.",
        "set()": b"\x80\x02cbuiltins\nset\n](" + key + b"e\x85R.",
        "frozenset()": b"\x80\x02cbuiltins\nfrozenset\n](" + key + b"e\x85R.",
        "OrderedDict()": b"\x80\x02ccollections\nOrderedDict\n](](" + key + b"K\x01ee\x85R.",
        "newobj": b"\x80\x04cbuiltins\nset\n](" + key + b"e\x85\x81.",
    }[how]


HOW = ["setitem", "setitems", "dict", "additems", "frozenset", "set()", "frozenset()", "OrderedDict()", "newobj"]


@pytest.mark.parametrize("how", HOW)
def test_a_key_that_takes_for_ever_to_hash_is_refused_at_once(how):
    doubled = pickle.dumps(tuples(60), 3)[2:-1]  # 2**60 numbers in 300 bytes
    with pytest.raises(DataError, match=r"refused, it has a dict key .* tuple|not a readable pickle"):
        safe_pickle.loads(keyed(doubled, how))
    assert len(keyed(b"K\x05", how)) < 60


@pytest.mark.parametrize("how", [how for how in HOW if how != "newobj"])
def test_plain_keys_are_read_from_every_opcode_that_sets_one(how):
    expected = {5: 1} if "dict" in how.lower() or "setitem" in how else {5}
    assert safe_pickle.loads(keyed(b"K\x05", how)) == expected


@pytest.mark.parametrize(
    "key, fine",
    [
        *((key, True) for key in ("a", b"a", 1.5, None, True, 2**59, np.int64(3))),
        *((key, False) for key in (2**61 - 1, -(2**70), 1j, (1,), frozenset({1}), np.float32(1))),
    ],
)
def test_keys_are_texts_bytes_and_numbers_of_distinct_hashes(key, fine):
    data = pickle.dumps({key: 1}, 4)
    if fine:
        assert safe_pickle.loads(data) == {key: 1}
    else:
        with pytest.raises(DataError, match="refused, it has a dict key or a member of a set"):
            safe_pickle.loads(data)


@pytest.mark.parametrize("name", ["cnumpy\ndtype", "cbuiltins\nset", "cbuiltins\ncomplex", "cnumpy\nndarray"])
def test_a_file_leaves_nothing_on_the_names_that_it_may_use(name):
    with pytest.raises(DataError, match="it sets the state of something else than an array"):
        safe_pickle.loads(name.encode() + b"\n}S'mark'\nI1\nsb.")
    assert not hasattr(safe_pickle._Unpickler._dtype, "mark") and not hasattr(safe_pickle._Unpickler._set, "mark")


def test_tuples_that_hold_one_another_are_fine_as_values():
    loaded = safe_pickle.loads(pickle.dumps({"a": tuples(60)}))
    assert loaded["a"][0] is loaded["a"][1]


def test_a_frame_that_is_longer_than_the_pickle_is_refused():
    whole = pickle.dumps(list(range(100)), 4)
    at = whole.index(b"\x95") + 1
    longer = whole[:at] + struct.pack("<Q", int.from_bytes(whole[at : at + 8], "little") + 1) + whole[at + 8 :]
    with pytest.raises(DataError, match="EOFError: a frame of"):
        safe_pickle.loads(longer)


# ------------------------------------------------------------------------------------------------ tensor files


def odd_tensors() -> dict[str, torch.Tensor]:
    return {
        "float8": torch.zeros(400).to(torch.float8_e4m3fn),
        "meta": torch.zeros(400, device="meta"),
        "sparse": torch.zeros(20, 20).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.zeros(400), 0.1, 0, torch.qint8),
        "bool": torch.zeros(400, dtype=torch.bool),
        "complex": torch.zeros(400, dtype=torch.complex64),
        "unsigned": torch.zeros(400, dtype=torch.uint16),
    }


@pytest.mark.parametrize("kind", odd_tensors())
def test_a_tensor_of_an_odd_kind_is_a_data_error(tmp_path, kind):
    torch.save(odd_tensors()[kind], tmp_path / "clip.pt")
    with pytest.raises(DataError, match=r"clip\.pt: (holds a|a waveform of|not a readable)"):
        audio.read_audio(tmp_path / "clip.pt", RATE)


def test_the_imaginary_part_of_a_conjugate_is_read_with_its_sign(tmp_path):
    torch.save(torch.complex(torch.zeros(400), torch.full((400,), 0.5)).conj().imag, tmp_path / "clip.pt")
    assert audio.read_audio(tmp_path / "clip.pt", RATE).tolist() == [-0.5] * 400


# ------------------------------------------------------------------------------------------------ headers: npy


def npy(header: str, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + bytes(64)


HEADERS = [
    *(f"{{'descr': {kind}, 'fortran_order': False, 'shape': ({size})}}"
      for kind, size in [("'<f4'", "10**9,"), ("'<f4'", "99999999999999,"), ("'<f4'", "-1,"), ("'<f4'", "-1, -16"),
                         ("'<f4'", "4,"), ("'O'", "1,"), ("'S0'", f"{2**60},"), ("'V0'", f"{2**60},"),
                         ("'<U9999999'", "16,"), ("('f4',)", "1,"), ("[('a', 'f4', (1000000000, 1000))]", "1,"),
                         ("{}", "1,"), ("5", "1,"), ("[('a',)]", "1,"), ("'<f4'", "1, " * 70), ("'<f4'", "1.0,"),
                         ("'<f4'", "True,"), ("'m8'", "8,"), ("'<f4'", "0, " + "9" * 18 + ",")]),
    *("(((", "{'descr': '<f4', 'shape': (4,", "  {'a'\n   'b'\n  c", "{[]: 1}", "{1: 1, 'a': 2, (1, 2): 3}"),
    *("[" * 3000, "-" * 5000 + "1", "", "\\", "'", "{'descr': '<f4', 'fortran_order': 2, 'shape': (1,)}", "x" * 20_000),
]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_an_array_file_with_an_absurd_header_is_a_data_error(tmp_path, header, version):
    path = put(tmp_path / "clip.npy", npy(header, version))
    for read in (lambda: audio.read_audio(path, RATE), lambda: video.read_flow(path, 4, slice(0, 4))):
        try:
            wave = read()
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and len(str(error)) < len(str(path)) + 300
        else:
            assert wave.shape in ((1,), (4,)) and np.isfinite(wave).all()
    assert not video.holds_packed_flow(path, (4, 2, 8, 8))


# ------------------------------------------------------------------------------------------------ headers: sound


def wav(*, rate=RATE, channels=1, bits=16, data=bytes(4000), claims=None, kind=1, chunk=16) -> bytes:
    length = len(data) if claims is None else claims
    width = channels * bits // 8
    fmt = struct.pack("<IHHIIHH", chunk, kind, channels, rate, rate * width % 2**32, width % 2**16, bits)
    return (
        b"RIFF"
        + struct.pack("<I", (36 + length) % 2**32)
        + b"WAVEfmt "
        + fmt
        + b"data"
        + struct.pack("<I", length)
        + data
    )


@pytest.mark.parametrize(
    "header, words",
    [
        ({"rate": 0}, "cannot be decoded|rate is 0"),
        ({"rate": 1}, r"its rate is 1 Hz, which no sound has; allowed are 100 to 1000000"),
        ({"rate": 99}, "its rate is 99 Hz"),
        ({"rate": 10**9}, "its rate is 1000000000 Hz"),
        ({"rate": 2**31 - 1}, "its rate is 2147483647 Hz"),
        ({"rate": 2**32 - 1}, "cannot be decoded|its rate is"),
        ({"channels": 0}, "cannot be decoded"),
        ({"channels": 2**16 - 1}, "cannot be decoded"),
        ({"bits": 0}, "cannot be decoded"),
        ({"bits": 2**16 - 1}, "cannot be decoded"),
        ({"kind": 2**16 - 1}, "cannot be decoded"),
        ({"claims": 2**31 - 2**16 - 2}, "a truncated wav file .4000 of 2147418110"),
        ({"claims": 4010}, "a truncated wav file"),
        ({"chunk": 2**32 - 1}, "cannot be decoded|truncated"),
        ({"data": b""}, "zero samples"),
    ],
)
def test_a_wav_with_an_absurd_header_is_a_data_error(tmp_path, header, words):
    with pytest.raises(DataError, match=rf"clip\.wav: .*({words})"):
        audio.read_waveform(put(tmp_path / "clip.wav", wav(**header)), RATE)


@pytest.mark.parametrize("claims", [2**32 - 1, 2**31 - 1, 2**31 - 2**16])
def test_a_wav_that_claims_four_gigabytes_as_pipes_do_is_as_long_as_it_is(tmp_path, claims):
    assert audio.read_waveform(put(tmp_path / "clip.wav", wav(claims=claims)), RATE).shape == (2000,)


def test_a_thousand_channels_are_averaged(tmp_path):
    frame = np.full(1000, 2**14, np.int16)
    path = put(tmp_path / "clip.wav", wav(channels=1000, data=np.tile(frame, 3).tobytes()))
    assert audio.read_waveform(path, RATE).tolist() == [0.5] * 3


def test_a_resampled_sound_is_not_longer_than_a_sound_may_be(tmp_path):
    path = put(tmp_path / "clip.wav", wav(rate=1000, bits=8, data=bytes(100_000)))
    with pytest.raises(DataError, match="100000 samples at 1000 Hz would be too many at 2000000 Hz"):
        audio.read_waveform(path, 2_000_000)


@pytest.mark.parametrize(
    "rate", [10**6 + 1, 10**18, 2**62, 10**30, -(10**5000), 10**5000], ids=lambda rate: len(bin(rate))
)
@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_a_stored_rate_that_no_sound_has_is_refused(tmp_path, suffix, rate):
    path = tmp_path / f"clip{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"waveform": np.zeros(4000), "sample_rate": rate}, 4))
    else:
        torch.save({"waveform": torch.zeros(4000), "sample_rate": rate}, path)
    with pytest.raises(
        DataError, match=r"sample_rate must be a whole number of Hz above 0, found (above|below)|not a readable pt"
    ):
        audio.read_audio(path, RATE)


def test_a_flac_that_claims_any_length_is_refused_or_as_long_as_it_is(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(4000), RATE, format="FLAC")
    whole = buffer.getvalue()
    for claimed in (0, 1, 4001, 10**8 + 1, 2**36 - 1):
        data = bytearray(whole)  # 36 bits of STREAMINFO, after the magic, a block header and 13.5 bytes
        data[21] = data[21] & 0xF0 | claimed >> 32
        data[22:26] = (claimed % 2**32).to_bytes(4, "big")
        try:
            wave = audio.read_waveform(put(tmp_path / "clip.flac", bytes(data)), RATE)
        except DataError as error:
            assert re.search(r"clip\.flac: (a sound of|cannot be decoded)", str(error))
        else:
            assert 0 < len(wave) <= 4096


# ------------------------------------------------------------------------------------------------ headers: pictures


def progressive(side: int, scans: int) -> bytes:
    """A JPEG that claims ``side`` pixels each way and has ``scans`` empty scans more than Pillow writes."""
    buffer = io.BytesIO()
    Image.fromarray((np.arange(64 * 64 * 3) % 251).astype(np.uint8).reshape(64, 64, 3)).save(
        buffer, "JPEG", progressive=True
    )
    data = bytearray(buffer.getvalue())
    frame, last = data.index(b"\xff\xc2"), data.rindex(b"\xff\xda")
    data[frame + 5 : frame + 9] = side.to_bytes(2, "big") * 2
    head = bytes(data[last : last + 2 + int.from_bytes(data[last + 2 : last + 4], "big")])
    return bytes(data[:-2]) + head * scans + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path):
    assert image.read_frame(put(tmp_path / "fine.jpg", progressive(64, 0))).shape == (3, 64, 64)
    with pytest.raises(DataError, match=r"bomb\.jpg: a jpeg of \d+ scans; at most 100 are decoded"):
        image.read_frame(put(tmp_path / "bomb.jpg", progressive(9000, 70_000)))


def test_what_looks_like_scans_after_the_end_of_a_picture_or_in_its_comments_does_not_count(tmp_path):
    data = progressive(64, 0)
    noise = b"\xff\xda\x00\x02" * 1000
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(noise)) + noise
    for content in (data + noise, data[:2] + comment + data[2:]):
        assert image.read_frame(put(tmp_path / "photo.jpg", content)).shape == (3, 64, 64)


def png(width: int, height: int, *chunks: bytes, depth: int = 8, color: int = 2, data: bytes = b"") -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = (header, *chunks, b"IDAT" + (data or zlib.compress(bytes(100))), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (png(2**31 - 1, 2**31 - 1), "pixels"),
        (png(2**32 - 1, 1), "pixels|damaged"),
        (png(10**8, 2), "pixels"),
        (png(0, 5), "damaged"),
        (png(5, 0), "damaged"),
        (png(5, 5, depth=255), "damaged"),
        (png(5, 5, color=255), "damaged"),
        (png(5, 5, b"iCCPx\0\0" + zlib.compress(bytes(10**8))), "damaged|colou?r"),
        (png(5, 5, b"zTXtx\0\0" + zlib.compress(bytes(10**8))), "damaged"),
        (progressive(65_535, 0), "pixels"),
    ],
)
def test_a_picture_with_an_absurd_header_is_a_data_error_or_a_picture_of_that_size(tmp_path, content, words):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        frame = image.read_frame(put(tmp_path / "frame.png", content))
    except DataError as error:
        assert re.search(rf"frame\.png: .*({words})", str(error))
    else:
        assert frame.shape == (3, 5, 5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


# ------------------------------------------------------------------------------------------------ headers: video


@pytest.mark.parametrize("where", ["frames", "microseconds", "width", "picture", "scale", "length", "suggested buffer"])
@pytest.mark.parametrize("number", [0, 2**31 - 1, 2**32 - 1])
def test_a_video_with_an_absurd_header_is_a_data_error_or_its_own_frames(tmp_path, where, number):
    path = tmp_path / "clip.avi"
    video.write_video(path, np.full((4, 16, 16, 3), 128, np.uint8))
    data = bytearray(path.read_bytes())
    stream, picture = data.index(b"strh") + 8, data.index(b"strf") + 8
    places = {"frames": 48, "microseconds": 32, "width": 64, "picture": picture + 4}
    places |= {"scale": stream + 20, "length": stream + 32, "suggested buffer": stream + 36}
    data[places[where] : places[where] + 4] = struct.pack("<I", number)
    path.write_bytes(data)
    for start, stop in ((0, 4), (10**8, 2 * 10**8)):
        try:
            frames = video.read_video(path, start, stop)
        except DataError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert stop == 4 and frames.shape == (4, 3, 16, 16) and (frames.float() - 128).abs().max() < 4


# ------------------------------------------------------------------------------------------------ bombs


def make_long_line(path: Path) -> None:
    """A hundred megabytes without a line feed."""
    line = path.with_name("line")
    if not line.exists():
        line.write_bytes(b"x" * 10**8)
    path.symlink_to(line)


def make_zip_bomb(path: Path) -> None:
    """A tensor of 200 MB in a fifth of a megabyte."""
    whole = torch_file({"waveform": torch.zeros(64), "sample_rate": RATE}, "zip")
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            if name.endswith("data/0"):
                with target.open(name, "w") as member:
                    for _ in range(200):
                        member.write(bytes(10**6))
            else:
                target.writestr(name, source.read(name))


def make_silence(path: Path) -> None:
    """Hours of silence in less than half a megabyte."""
    with soundfile.SoundFile(path, "w", RATE, 8, format="FLAC", subtype="PCM_16") as file:
        for _ in range(130):
            file.write(np.zeros((10**5, 8), np.int16))


def read_sound(path: Path) -> np.ndarray:
    return audio.read_audio(path, 22050)


BOMBS: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any], str, int]] = {
    # name: file, what makes it, what reads it, what is said, megabytes that may be needed for it
    "csv": ("line.csv", make_long_line, cremad.read_list, "not a csv row: field larger", 500),
    "tsv": ("line.tsv", make_long_line, twitter15.read_list, "line 1: the header is 'xxx", 500),
    "txt": ("line.txt", make_long_line, sarcasm.read_list, "line 1: expected a line like", 500),
    "json": ("line.json", make_long_line, sarcasm.read_list, "line 1: not json", 500),
    "lst": ("line.lst", make_long_line, nvgesture.read_list, "line 1: 'xxx", 700),
    "a deep key": ("key.pkl", lambda path: put(path, keyed(b"N" + b"\x85" * 200_000, "setitem")), read_sound,
                   "refused, it has a dict key", 300),
    "a deep value": ("value.pkl", lambda path: put(path, b"\x80\x04N" + b"\x85" * 200_000 + b"."), read_sound,
                     "RecursionError", 300),
    "a packed tensor": ("bomb.pt", make_zip_bomb, read_sound, "refused, it unpacks to 2000", 30),
    "an endless tensor": ("endless.pt", lambda path: torch.save(torch.zeros(1).expand(2**40), path), read_sound,
                          "holds an array of shape (1099511627776,); at most 100000000 numbers", 30),
    "silence": ("silence.flac", make_silence, read_sound, "a sound of 104000000 samples; at most 100000000", 30),
    "a low rate": ("rate.wav", lambda path: put(path, wav(rate=1, bits=8, data=bytes(10**5))), read_sound,
                   "its rate is 1 Hz", 30),
}  # fmt: skip


def explode(folder: str) -> None:
    """Read every bomb in a process that is forked from this one, and print what came of it as json."""
    limit = 8 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # what fails shall not take the machine along
    results = {}
    for name, (file, _, read, _, _) in BOMBS.items():
        output, into = os.pipe()
        child = os.fork()
        if child == 0:
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
            try:
                said = f"no error: {type(read(Path(folder) / file))}"
            except BssError as error:
                said = str(error)
            except BaseException as error:
                said = f"{type(error).__name__} {error}"
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
            os.write(into, json.dumps([said[:2000], grown, time.perf_counter() - began]).encode())
            os._exit(0)
        os.close(into)
        with open(output, "rb") as answer:
            content = answer.read()
        _, status = os.waitpid(child, 0)
        results[name] = json.loads(content) if status == 0 else [f"died with status {status}", 0, 0.0]
    print(json.dumps(results))


def test_every_bomb_is_refused_by_name_in_bounded_time_and_memory(tmp_path):
    for file, make, _, _, _ in BOMBS.values():
        make(tmp_path / file)
    command = [sys.executable, "-c", "import sys; from tests.data.test_hostile import explode; explode(sys.argv[1])"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, tmp_path], cwd=root, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    (tmp_path / "line").unlink()
    for name, (file, _, _, words, megabytes) in BOMBS.items():
        said, grown, seconds = results[name]
        assert file in said and words in said and len(said) < 700, (name, said)
        assert grown < megabytes and seconds < 20, (name, grown, seconds)
