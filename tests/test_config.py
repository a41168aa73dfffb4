"""Configurations: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from atmorep_lite.config import Config, FieldConfig, ModelConfig, dump_config, load_config, parse_config
from atmorep_lite.errors import UserError
from tests.tiny import HEAT, WIND, tiny_field, tiny_model, tiny_run


@pytest.fixture
def tree() -> dict:
    return yaml.safe_load(dump_config(tiny_run()))


def refused(tree: dict) -> str:
    with pytest.raises(UserError) as caught:
        parse_config(tree, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ") and "\n" not in message
    return message


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = tiny_run(seed=3)
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert dump_config(load_config(path)) == dump_config(config)


def test_unknown_key(tree: dict) -> None:
    tree["training"]["stages"][1]["lerning_rate"] = 1.0
    assert "unknown key training.stages.1.lerning_rate; did you mean learning_rate?" in refused(tree)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("model.encodr_layers=3", "did you mean encoder_layers"),
        ("model.fields.0.levles=3", "did you mean levels?"),
        ("model.grid_skip.widht=3", "did you mean width?"),
        ("training.guard.spik=3", "did you mean spike?"),
        ("training.stages=[{prt: all}]", "unknown key training.stages.0.prt; did you mean part?"),
        ("data.xyz=3", "check its spelling or remove it"),
    ],
)
def test_an_unknown_key_is_told_with_known_ones(override: str, meant: str) -> None:
    with pytest.raises(UserError, match="the preset demo: unknown key ") as caught:
        load_config("demo", [override])
    assert meant in str(caught.value)


def test_missing_key(tree: dict) -> None:
    del tree["model"]["fields"][0]["levels"]
    assert "the key model.fields.0.levels is missing; add it" in refused(tree)


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("training", "seed", "twelve", "training.seed is 'twelve', but it should be a whole number"),
        ("training", "seed", -1, "training.seed is -1, but it should be greater than or equal to 0"),
        ("training", "clip", 0, "training.clip is 0"),
        ("training", "loss", {}, "training.loss is {}"),
        (
            "training",
            "optimizer",
            "sgd",
            "training.optimizer is 'sgd', but it should be 'adamw' or 'muon'",
        ),
        ("training", "stages", [], "training.stages is ()"),
        ("masking", "max_rate", 1.5, "masking.max_rate is 1.5"),
        ("masking", "forecast", -0.1, "masking.forecast is -0.1"),
        ("data", "normalization", "log", "data.normalization is 'log'"),
        ("data", "train", None, "data.train is None"),
        ("data", "train_period", ["2001-01-01"], "data.train_period.1"),
        ("model", "heads", 0, "model.heads is 0"),
        ("model", "dropout", 1.0, "model.dropout is 1.0"),
        ("model", "fields", [], "model.fields is ()"),
    ],
)
def test_wrong_value(tree: dict, section: str, key: str, value: object, words: str) -> None:
    tree[section][key] = value
    message = refused(tree)
    assert words.replace("()", "") in message.replace("[]", "").replace("()", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": ()}, "fields.0.levels"),
        ({"num_tokens": (3, 0, 4)}, "fields.0.num_tokens.1 is 0"),
        ({"token_size": (2, 2)}, "fields.0.token_size"),
        ({"embed_dim": 26}, "embed_dim 26 of temperature is not a multiple of the 4 heads"),
        ({"embed_dim": 16}, "embed_dim is 16"),
        ({"embed_dim": 33}, "embed_dim is 33"),
        ({"coupled_to": (WIND,)}, f"{HEAT} is coupled to {WIND}, which is not another field"),
        ({"coupled_to": (HEAT,)}, f"{HEAT} is coupled to {HEAT}"),
    ],
)
def test_wrong_field(tree: dict, changes: dict, words: str) -> None:
    tree["model"]["fields"] = [tree["model"]["fields"][0] | changes]
    assert words in refused(tree)


def test_fields_must_agree(tree: dict) -> None:
    first = tree["model"]["fields"][0]
    tree["model"]["fields"] = [first, first | {"name": "t"}]
    assert "names a field twice: temperature, temperature" in refused(tree)
    tree["model"]["fields"] = [first, first | {"name": WIND, "token_size": [2, 2, 3]}]
    assert f"{WIND} is (6, 4, 12), of {HEAT} (6, 4, 8)" in refused(tree)
    tree["model"]["fields"] = [first, first | {"name": WIND, "coupled_to": [HEAT, "t"]}]
    assert f"{WIND} is coupled to a field twice" in refused(tree)


def test_options_that_exclude_each_other(tree: dict) -> None:
    tree["model"]["predict"] = "field"
    assert "grid_skip needs model.predict" in refused(tree)


def test_a_forecast_must_fit(tree: dict) -> None:
    tree["masking"]["forecast_slots"] = 3
    assert "forecast_slots hides 6 of 6 time steps" in refused(tree)
    tree["masking"]["forecast"] = 0.0
    parse_config(tree)
    tree["training"]["stages"][0]["forecast"] = 0.5
    refused(tree)
    longer = {"name": WIND, "num_tokens": [2, 2, 4], "token_size": [3, 2, 2]}
    tree["model"]["fields"].append(tree["model"]["fields"][0] | longer)
    tree["masking"]["forecast_slots"] = 1
    assert f"hides 2 time steps, which is not a whole number of tokens of {WIND} (3 steps each)" in refused(
        tree
    )


def test_fields_in_any_spelling() -> None:
    field = FieldConfig(**tiny_field().model_dump() | {"name": "velocity_u", "coupled_to": ["T"]})
    assert field.name == WIND and field.coupled_to == (HEAT,)
    assert tiny_field("ozone_of_mine").name == "ozone_of_mine"


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(tiny_run()))
    config = load_config(
        path,
        ["training.seed=7", "training.stages.1.steps=9", "data.train_period=[2001-01-01T00, 2001-02]",
         "masking.zero=0.5", "model.fields.0.levels=[850]"],
    )  # fmt: skip
    assert config.training.seed == 7 and config.training.stages[1].steps == 9
    assert config.data.train_period == ("2001-01-01T00", "2001-02")
    assert config.masking.zero == 0.5 and config.model.fields[0].levels == (850,)
    assert config.training.stages[0] == tiny_run().training.stages[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.seed", "'training.seed' is not an override; write key=value"),
        ("=3", "'=3' is not an override"),
        ("training.sede=3", "unknown key training.sede"),
        ("training.seed.x=3", "seed holds a single value, not a section"),
        ("training.stages.5.steps=3", "5 is not an entry of the list, 0 to 1"),
        ("training.stages.first.steps=3", "first is not an entry of the list"),
        ("training.stages.5=3", "5 is not an entry of the list"),
        ("training.seed=[1", "'[1' is not a YAML value"),
        ("training.seed=abc", "training.seed is 'abc'"),
    ],
)
def test_wrong_override(tmp_path: Path, override: str, words: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(tiny_run()))
    with pytest.raises(UserError) as caught:
        load_config(path, [override])
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no configuration 'dmeo'; give a YAML file or .*demo"):
        load_config("dmeo")
    with pytest.raises(UserError, match=r"there is no configuration '.*nowhere\.yaml'"):
        load_config(tmp_path / "nowhere.yaml")
    for content, words in (
        (b"a: [1", "is not valid YAML"),
        (b"\xff\xfe\xfa", "not valid"),
        (b"- 1", "mapping"),
    ):
        (tmp_path / "bad.yaml").write_bytes(content)
        with pytest.raises(UserError, match=words):
            load_config(tmp_path / "bad.yaml")


def test_a_folder_does_not_hide_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config("demo").model.members > 0


def test_a_configuration_cannot_be_changed_by_accident() -> None:
    config: Config = tiny_run()
    with pytest.raises(ValueError, match="frozen"):
        config.training.seed = 5
    model: ModelConfig = tiny_model()
    assert model.extent == (6, 4, 8) and model.field(HEAT).token_values == 8 and model.names == (HEAT,)
