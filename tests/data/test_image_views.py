"""Pictures that are unusual, random views as the released code has them, and pretrained weights of the ResNet-50."""

import io
import pickle

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageOps
from torch import nn

from bss.data.transforms import image
from bss.data.transforms.augment import OPERATIONS, RandomOperations, augment_transform
from bss.data.transforms.image import fixed_transform, read_frame
from bss.models.encoders import load_resnet50, resnet50
from bss.models.encoders.resnet import resnet50_weights
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.seeding import seeded

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def smooth(height=40, width=56, low=30, high=220):
    """A picture without noise, whose darkest and brightest values are known."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [np.sin(y / 5 + k) + np.cos(x / 7 - k) for k in range(3)]
    picture = np.stack([(c - c.min()) / (c.max() - c.min()) for c in channels], axis=2)
    return np.round(low + (high - low) * picture).astype(np.uint8)


def tensor(picture_HWC):
    return torch.from_numpy(np.array(picture_HWC)).permute(2, 0, 1)


# ---------------------------------------------------------------------------------------------------- EXIF, sizes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind, mode", [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "P")])
def test_a_photograph_is_turned_as_exif_says(tmp_path, kind, mode, orientation):
    photo = Image.fromarray(smooth(32, 48)).convert(mode)
    exif = photo.getexif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "photo.jpg", kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg")).convert("RGB")).astype(int)
    shown = read_frame(tmp_path / "photo.jpg").permute(1, 2, 0).numpy().astype(int)
    assert shown.shape == expected.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    assert np.abs(shown - expected).max() <= 4


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
@pytest.mark.parametrize("transform", [fixed_transform(8), augment_transform(8)], ids=["test", "augment"])
def test_a_picture_of_one_pixel_or_one_line_gives_a_view(tmp_path, size, transform):
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "dot.png")
    view = transform(read_frame(tmp_path / "dot.png"))
    assert view.shape == (3, 8, 8) and view.isfinite().all()


def test_twenty_thousand_pixels_square_are_refused_by_the_header_of_a_jpeg(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    frame = data.index(b"\xff\xc0")  # start of frame: length, precision, height, width
    data[frame + 5 : frame + 9] = (20_000).to_bytes(2, "big") * 2
    (tmp_path / "bomb.jpg").write_bytes(data)
    with pytest.raises(DataError, match=r"bomb\.jpg: an image of .*pixels"):
        read_frame(tmp_path / "bomb.jpg")


# ---------------------------------------------------------------------------------------------------- test view


@pytest.mark.parametrize(
    "normalization, expected", [("none", 1.0), ("clip", (1 - 0.48145466) / 0.26862954), ("imagenet", 0.515 / 0.229)]
)
def test_white_becomes_one_minus_mean_over_deviation(normalization, expected):
    white = torch.full((3, 5, 9), 255, dtype=torch.uint8)
    view = fixed_transform(4, normalization=normalization)(white)
    torch.testing.assert_close(view[0], torch.full((4, 4), expected))


def test_bicubic_is_another_view_than_bilinear_and_close_to_pillows():
    picture = smooth(60, 80)
    views = {
        kind: fixed_transform(24, normalization="none", interpolation=kind)(tensor(picture))
        for kind in ("bilinear", "bicubic")
    }
    pillow = Image.fromarray(picture).resize((24, 24), Image.Resampling.BICUBIC)
    assert (views["bicubic"] - tensor(np.asarray(pillow)) / 255).abs().max() <= 1.01 / 255
    assert not torch.equal(views["bilinear"], views["bicubic"])


# ------------------------------------------------------------------------------------------------- random views


def test_there_are_the_ten_released_operations():
    assert list(OPERATIONS) == [
        "identity", "autocontrast", "equalize", "brightness", "sharpness",
        "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    ]  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
def test_operations_by_hand(sign):
    grey = torch.full((3, 20, 30), 100, dtype=torch.uint8)
    at_seven = {name: operation(grey, 0.7, sign) for name, operation in OPERATIONS.items()}
    assert (at_seven["brightness"] == 136).all()  # 0.1 + 0.7 * 1.8 = 1.36
    for name in ("identity", "autocontrast", "equalize", "sharpness"):
        assert torch.equal(at_seven[name], grey)
    columns = torch.nonzero((at_seven["translate_x"] == 128).all(dim=(0, 1))).flatten().tolist()
    assert columns == (list(range(7)) if sign > 0 else list(range(23, 30)))
    rows = torch.nonzero((at_seven["translate_y"] == 128).all(dim=(0, 2))).flatten().tolist()
    assert rows == (list(range(7)) if sign > 0 else list(range(13, 20)))
    for name in ("shear_x", "shear_y", "rotate"):
        assert (at_seven[name].min(), at_seven[name].max()) == (100, 128)  # a mix of both along the border
    # A shear of 0.21 leaves the top row where it is and moves the last of 20 rows by 0.21 * 19 = 3.99 pixels.
    sheared = at_seven["shear_x"][0] != 100
    assert not sheared[0, 1:-1].any() and int(sheared[19].sum()) in (4, 5)


def test_sharpness_autocontrast_and_equalize_are_pillows():
    from PIL import ImageEnhance

    picture = smooth()
    photo = Image.fromarray(picture)
    expected = {
        "sharpness": ImageEnhance.Sharpness(photo).enhance(1.36),
        "autocontrast": ImageOps.autocontrast(photo),
        "equalize": ImageOps.equalize(photo),
    }
    for name, pillow in expected.items():
        ours = OPERATIONS[name](tensor(picture), 0.7, 1).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(ours - np.asarray(pillow).astype(int)).max() <= 1, name


def test_a_drawn_operation_is_applied_half_of_the_time():
    picture = tensor(smooth())
    with seeded("operations", 0):
        changed = sum(not torch.equal(RandomOperations(count=1)(picture), picture) for _ in range(300))
    # 9 of the 10 operations change this picture: 300 * 0.9 * 0.5 = 135, standard deviation 8.6
    assert 105 <= changed <= 165


def test_a_random_view_is_a_function_of_torchs_default_generator_alone():
    picture, transform = tensor(smooth()), augment_transform(16, normalization="clip", interpolation="bicubic")
    views = []
    for epoch in (0, 0, 1):
        np.random.seed(epoch)  # noise from elsewhere
        with seeded("view", 0, epoch):
            views.append(transform(picture))
    assert views[0].shape == (3, 16, 16) and views[0].dtype == torch.float32
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert isinstance(pickle.loads(pickle.dumps(transform)), type(transform))


# --------------------------------------------------------------------------------------------- pretrained weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A data root with ``weights.pth``: the state dict of a torchvision ResNet-50."""
    root = tmp_path_factory.mktemp("weights")
    with seeded("weights", 3):
        network = torchvision.models.resnet50(weights=None)
    torch.save(network.state_dict(), root / "weights.pth")
    return root, network.state_dict()


def test_a_file_of_torchvisions_weights_is_loaded_with_its_classifier(weights, monkeypatch, tmp_path):
    root, state = weights
    encoder, fc = resnet50(), nn.Linear(2048, 1000)
    monkeypatch.chdir(tmp_path)
    load_resnet50(encoder, "weights.pth", root, classifier=fc)
    assert torch.equal(encoder.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])
    assert torch.equal(fc.weight, state["fc.weight"]) and torch.equal(fc.bias, state["fc.bias"])
    load_resnet50(encoder, str(root / "weights.pth"), tmp_path)  # an absolute path, without the classifier


def test_imagenet_is_the_release_that_the_authors_used():
    from torchvision.models import ResNet50_Weights

    assert ResNet50_Weights.IMAGENET1K_V1.url.endswith("/resnet50-0676ba61.pth")


def test_weights_that_cannot_be_had_say_what_to_pass(tmp_path, monkeypatch):
    with pytest.raises(DataNotFoundError, match=r"(?s)image_weights=none\.pth: no such file.*--set image_weights=FILE"):
        resnet50_weights("none.pth", tmp_path)

    def unreachable(*_, **__):
        raise OSError("<urlopen error Name or service not known>")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing was downloaded before
    monkeypatch.setattr("bss.models.encoders.resnet.silence", lambda url: "no answer within 3 s")
    with pytest.raises(DataNotFoundError, match=r"(?s)arrive \(no answer within 3 s\).*--set image_weights=FILE"):
        resnet50_weights("imagenet", tmp_path)
    monkeypatch.setattr("bss.models.encoders.resnet.silence", lambda url: "")
    with pytest.raises(DataNotFoundError, match=r"(?s)resnet50-0676ba61\.pth did not arrive.*--set image_weights=none"):
        resnet50_weights("imagenet", tmp_path)


@pytest.mark.parametrize("content", [b"", LFS, b"PK\x03\x04 cut off"])
def test_a_file_that_holds_no_weights_is_a_data_error(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"w\.pth is not a file of weights"):
        resnet50_weights("w.pth", tmp_path)


def test_weights_of_another_network_are_a_data_error(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(DataError, match="holds no state dict"):
        resnet50_weights("list.pth", tmp_path)
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="not the weights of a ResNet-50 with fc"):
        load_resnet50(resnet50(), "w.pth", tmp_path)
    with pytest.raises(RecipeError, match="needs width=64"):
        load_resnet50(resnet50(width=8), "w.pth", tmp_path)


def test_weights_without_a_classifier_do_not_fill_one(weights, tmp_path):
    state = {key: value for key, value in weights[1].items() if not key.startswith("fc.")}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError, match="not the weights of a ResNet-50 with fc"):
        load_resnet50(resnet50(), "w.pth", tmp_path, classifier=nn.Linear(2048, 1000))


def test_the_constants_are_those_of_clip():
    assert image.CLIP_MEAN == (0.48145466, 0.4578275, 0.40821073)
    assert image.CLIP_STD == (0.26862954, 0.26130258, 0.27577711)
