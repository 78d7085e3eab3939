"""The variant of Twitter15: lists of its own, told by the names of their pictures, which repeat rows as published."""

from dataclasses import replace

import pytest
from PIL import Image

from bss.cli.commands import main
from bss.data.datasets.data_set import read
from bss.data.datasets.twitter15 import DATA_SET, VARIANTS, read_list
from bss.data.synthetic.twitter15 import write_sample
from bss.tasks import twitter15 as task
from bss.utils.errors import DataError

HEADER = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n"
TWITTER17 = VARIANTS["twitter2017"]


def put(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{i}\t{label}\t{image}\t{text}\tTeam A\n" for i, (label, image, text) in enumerate(rows, start=1))
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


def test_a_list_of_the_other_variant_says_what_it_is_whatever_else_is_wrong_with_it(tmp_path):
    path = put(tmp_path / "train.tsv", *[(2, "17_01_1.jpg", "$T$ won today")] * 2)
    with pytest.raises(
        DataError, match=r"a list of Twitter17.*17_01_1.jpg.*--set variant=twitter2017.*--variant"
    ) as said:
        read_list(path)
    assert "\n" not in str(said.value)
    assert len(read_list(path, "twitter2017")) == 2
    numbers = put(tmp_path / "dev.tsv", (2, "860693.jpg", "$T$ won today"))
    with pytest.raises(DataError, match=r"a list of Twitter15.*--set variant=twitter2015"):
        read_list(numbers, "twitter2017")
    for image in ("O_1.jpg", "16_05_01_521.jpg", "17_06_4705.jpg"):
        with pytest.raises(DataError, match="a list of Twitter17"):
            read_list(put(tmp_path / "test.tsv", (0, image, "$T$")))
    assert len(read_list(put(tmp_path / "own.tsv", (0, "860693.jpg", "$T$"), (0, "O_1.jpg", "$T$")))) == 2


def test_all_repeated_rows_are_named_and_those_of_twitter17_kept_where_their_labels_agree(tmp_path):
    rows = [(2, "1.jpg", "$T$ a"), (1, "2.jpg", "$T$ b"), (2, "1.jpg", "$T$ a"), (0, "2.jpg", "$T$ b")]
    path = put(tmp_path / "train.tsv", *rows)
    with pytest.raises(DataError, match=r"line 4: the row of 1.jpg and 'Team A' .* line 2; .*: line 5 as line 3$"):
        read_list(path)
    path = put(tmp_path / "17.tsv", *((label, f"O_{image}", text) for label, image, text in rows))
    with pytest.raises(DataError, match=r"line 5: the row of O_2.jpg and 'Team A' is listed twice, first in line 3$"):
        read_list(path, "twitter2017")
    names = [post.name for post in read_list(put(path, (2, "O_1.jpg", "$T$"), (2, "O_1.jpg", "$T$")), "twitter2017")]
    assert names == ["O_1-1", "O_1-2"]


def test_both_variants_are_prepared_into_one_root_and_checked_by_name(tmp_path, capsys):
    clone, out = tmp_path / "clone", tmp_path / "out"
    for number, (split, name) in enumerate((("train", "train"), ("val", "dev"), ("test", "test"))):
        put(clone / "absa_data" / "twitter" / f"{name}.tsv", (1, f"O_{number}.jpg", f"$T$ {split}"))
        put(clone / "absa_data" / "twitter2015" / f"{name}.tsv", (1, f"{number}.jpg", f"$T$ {split}"))
        for folder, image in (("twitter2017_images", f"O_{number}"), ("twitter2015_images", str(number))):
            (clone / folder).mkdir(exist_ok=True)
            Image.new("RGB", (32, 32), number).save(clone / folder / f"{image}.jpg")
    for variant in ([], ["--variant", "twitter2017"]):
        command = ["prepare", "twitter15", "--source", str(clone), "--out", str(out), "--workers", "0", *variant]
        assert main(command) == 0
    assert [post.path.name for post in read(TWITTER17, out, "train")] == ["O_0.jpg"]
    assert [post.path.name for post in read(DATA_SET, out, "train")] == ["0.jpg"]
    capsys.readouterr()
    main(["doctor", "twitter15", str(out), "--variant", "twitter2017", "--workers", "0"])
    assert capsys.readouterr().out.startswith("Twitter17 under")
    assert f"--out {out} --variant twitter2017" in TWITTER17.prepare_command(out)


@pytest.mark.parametrize("stem", ["twitter15", "cremad"])
def test_a_variant_that_there_is_not_names_those_that_there_are(stem, tmp_path, capsys):
    assert main(["doctor", stem, str(tmp_path), "--variant", "x"]) == 2
    assert ("twitter2015, twitter2017" if stem == "twitter15" else "it has none") in capsys.readouterr().err


def test_the_task_trains_on_the_variant_without_the_rows_that_it_tests(tmp_path):
    write_sample(tmp_path)
    (tmp_path / "twitter2017").mkdir(exist_ok=True)
    for path in (tmp_path / "annotations").glob("*.tsv"):
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        cells = [row.split("\t") for row in rows]
        lines = ["\t".join([cell[0], cell[1], f"O_{cell[2]}", *cell[3:]]) for cell in cells]
        if path.stem == "train":
            tested = (tmp_path / "annotations" / "test.tsv").read_text(encoding="utf-8").splitlines()[1].split("\t")
            lines += ["\t".join([tested[0], tested[1], f"O_{tested[2]}", *tested[3:]]), lines[0]]
        (tmp_path / "twitter2017" / path.name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    (tmp_path / "twitter2017_images").mkdir(exist_ok=True)
    for picture in (tmp_path / "twitter2015_images").iterdir():
        (tmp_path / "twitter2017_images" / f"O_{picture.name}").write_bytes(picture.read_bytes())
    recipe = task.sample_recipe(task.CL)
    data, other = (task.build_data(each, tmp_path) for each in (recipe, replace(recipe, variant="twitter2017")))
    assert len(other.train) == len(data.train) + 1  # one row is there twice, and one is tested
    assert len(other.dropped["train"]) == 1 and other.names[0] == f"O_{data.names[0]}"
