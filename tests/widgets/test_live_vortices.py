"""LiveVortices: what may be selected, what goes to the page, and what is said where it cannot be shown."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import vendor_onnxruntime

from atmorep_lite import flows
from atmorep_lite.errors import UserError
from atmorep_lite.training.checkpoint import find_pretrained
from atmorep_lite.widgets.live_vortices import RUNTIME, SCENES, LiveVortices, classic_script


@pytest.fixture(scope="module")
def live() -> LiveVortices:
    return LiveVortices(title="Vortices")


def test_the_runtime_is_the_published_one() -> None:
    script = (RUNTIME / vendor_onnxruntime.SCRIPT).read_bytes()
    binary = gzip.decompress((RUNTIME / f"{vendor_onnxruntime.BINARY}.gz").read_bytes())
    for name, content in ((vendor_onnxruntime.SCRIPT, script), (vendor_onnxruntime.BINARY, binary)):
        assert hashlib.sha256(content).hexdigest() == vendor_onnxruntime.SHA256[name]
    said = (RUNTIME / "README.md").read_text()
    assert "MIT License" in (RUNTIME / "LICENSE").read_text() and f"{len(binary):,}" in said
    total = sum(file.stat().st_size for file in RUNTIME.iterdir())
    assert total + (find_pretrained("vortices") / "model.onnx").stat().st_size < 6e6


def test_what_travels(live: LiveVortices) -> None:
    def part(name: str) -> bytes:
        place = live.meta["parts"][name]
        return bytes(live.data[place["at"] : place["at"] + place["count"]])

    assert gzip.decompress(part("wasm"))[:4] == b"\0asm"
    assert gzip.decompress(part("model")) == (find_pretrained("vortices") / "model.onnx").read_bytes()
    worker = part("worker").decode()
    assert "self.ort={" in worker and "self.onmessage" in worker
    assert not re.search(r"\bimport\.meta|^(import|export)\b", worker, re.MULTILINE)


def test_a_page_of_its_own(live: LiveVortices, tmp_path: Path) -> None:
    page = live.to_html(tmp_path / "live.html")
    assert 6e6 < page.stat().st_size < 7.5e6
    assert "'wasm-unsafe-eval'" in page.read_text() and "default-src 'none'" in page.read_text()


def test_scenes_are_those_of_flows(live: LiveVortices) -> None:
    names = [scene["name"] for scene in SCENES]
    assert len(set(names)) == len(names) == 6
    for scene in live.meta["scenes"]:
        parameters = {key: torch.tensor([v[key] for v in scene["vortices"]]) for key in scene["vortices"][0]}
        field = flows.elliptic_vortex(64, **parameters).sum(0)
        assert 2 < field.abs().max() < 8, scene["name"]
        if scene["name"] != "lone":  # what turns one way turns the other way elsewhere
            assert (
                abs(flows.circulation(field)) < 0.25 * flows.circulation(field.abs())
                or scene["name"] == "merging"
            )


def test_selecting(live: LiveVortices) -> None:
    live.selected = {"scene": "dipole", "step": 3, "hidden": [7, 8], "silent": [[0, 1]]}
    assert [v["strength"] for v in live.selected["vortices"]] == [-3.5, 3.5]
    live.selected = {"vortices": [{"y": 1, "x": 2, "strength": 4}]}
    assert live.selected["vortices"][0]["radius"] == 0.45 and live.selected["step"] == 3
    assert live.selected["hidden"] == [7, 8] and live.selected["silent"] == [[0, 1]]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"step": 11}, r"selected\['step'\] is 11"),
        ({"scene": "storm"}, r"selected\['scene'\] is 'storm'"),
        ({"hidden": [256]}, "entry of hidden is 256: choose whole numbers up to 255"),
        ({"silent": [[4, 0]]}, "entry of silent is 4: choose whole numbers up to 3"),
        ({"silent": [3]}, "pairs"),
        ({"hidden": 3}, "hidden is 3"),
        ({"vortices": [{"y": 1, "x": 1}]}, "expected y, x, strength"),
        ({"vortices": [{"y": 1, "x": 1, "strength": float("nan")}]}, "strength of a vortex is nan"),
        (
            {"vortices": [{"y": 7, "x": 1, "strength": 1}]},
            "y of a vortex is 7: choose a number from 0 to 6.28",
        ),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_shown(live: LiveVortices, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        live.selected = wanted


def test_faults_become_the_message(tmp_path: Path) -> None:
    shutil.copytree(find_pretrained("vortices"), tmp_path / "bare", ignore=shutil.ignore_patterns("*.onnx"))
    bare = LiveVortices(tmp_path / "bare", step=4)
    assert bare.fault and "holds no model.onnx" in bare.fault
    with pytest.raises(UserError, match="export_onnx"):
        bare.to_html(tmp_path / "page.html")
    assert "no scenes" in str(LiveVortices(scenes=[]).fault)
    assert "lacks ['text']" in str(LiveVortices(scenes=[{"name": "a", "vortices": []}]).fault)
    looking = tmp_path / "looking"
    shutil.copytree(find_pretrained("vortices_looking"), looking)
    (looking / "model.onnx").write_bytes(b"")
    assert "3 token times" in str(LiveVortices(looking).fault)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": None}, "The model is None"),
        ({"model": "storms"}, "there is no model 'storms'"),
        ({"scenes": None}, "The scenes are None"),
        ({"scenes": [None]}, "A scene is None"),
        ({"scenes": [{"name": "a", "text": "b", "vortices": None}]}, "vortices of a scene are None"),
        ({"steps": 99}, r"no entries \['steps'\]: use some of .*'step'.*'hidden'"),
        ({"step": 99}, r"selected\['step'\] is 99"),
        ({"hidden": [999]}, "entry of hidden is 999"),
        ({"strength": 13}, "from -12 to 12"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_sentence(given: dict[str, Any], message: str) -> None:
    fault = LiveVortices(**given).fault
    assert fault and re.search(message, fault) and "\n" not in fault


def test_the_script_must_be_the_known_one() -> None:
    found = classic_script("const a=1,b=2;export{a as x,b};\n//# sourceMappingURL=none")
    assert found == "(()=>{const a=1,b=2;self.ort={x:a,b:b};})();\n"
    with pytest.raises(UserError, match=r"1\.30\.0"):
        classic_script("const a = 1;")
