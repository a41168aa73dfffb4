"""What all explorers have in common, in Python: states, faults, pages, modules outside of the package."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Between, Content, Explorer, complete, is_number
from atmorep_lite.widgets.page import HERE, module_source, page_text, style_source, write_page

ALLOWED: dict[str, tuple[Any, ...] | Between] = {
    "level": (500, 850),
    "name": ("a", None),
    "part": Between(0, 1),
}


class Plain(Explorer, module="toy_attention", heading="Plain"):
    """Two entries."""

    def __init__(self, content: Content | str, **words: str) -> None:
        def make() -> Content:
            if isinstance(content, str):
                raise UserError(content)
            return content

        super().__init__(make, **words)

    def allowed(self) -> dict[str, Any]:
        return ALLOWED


FIRST = {"level": 500, "name": "a", "part": 0.5}


def test_states_are_completed_or_refused() -> None:
    assert complete(ALLOWED, {"level": np.int64(850)}, FIRST) == FIRST | {"level": 850}
    assert type(complete(ALLOWED, {"level": np.int64(850)}, FIRST)["level"]) is int
    for wrong, told in (
        ({"level": 700}, r"selected\['level'\] is 700: choose one of \(500, 850\)"),
        ({"part": 1.5}, r"selected\['part'\] is 1.5: choose a number from 0 to 1"),
        ({"part": True}, "choose a number"),
        ({"part": float("nan")}, "choose a number"),
        ({"level": True}, "choose one of"),
        ({"level": np.array([500, 850])}, "choose one of"),
        ({"colour": 1}, r"no entries \['colour'\]"),
    ):
        with pytest.raises(UserError, match=told):
            complete(ALLOWED, wrong, FIRST)
    assert type(complete(ALLOWED, {"level": 850.0}, FIRST)["level"]) is int, "the choice itself is kept"
    assert is_number(np.float32(2)) and not is_number("2") and not is_number(np.inf)


def test_setting_some_entries_moves_the_view() -> None:
    plain = Plain(Content({}, FIRST))
    plain.selected = {"name": None}
    assert plain.selected == FIRST | {"name": None} and plain.fault is None
    with pytest.raises(UserError, match="level"):
        plain.selected = {"level": 1}
    assert plain.selected == FIRST | {"name": None}


def test_a_mistake_becomes_the_fault(tmp_path: Path) -> None:
    plain = Plain("The data hold no time: give some.", title="T")
    assert plain.fault == "The data hold no time: give some." and plain.meta["title"] == "T"
    with pytest.raises(UserError, match="no time"):
        plain.selected = {"level": 500}
    with pytest.raises(UserError, match="no time"):
        plain.to_html(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_an_empty_wish_changes_nothing() -> None:
    plain = Plain(Content({}, FIRST))
    plain.selected = {}
    assert plain.selected == FIRST


def test_any_error_is_told_and_its_traceback_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Explorer, module="toy_attention", heading="Broken"):
        def __init__(self) -> None:
            super().__init__(lambda: Content({"third": [1, 2][2]}, {}))

    with caplog.at_level(logging.INFO, logger="atmorep_lite.widgets.explorer"):
        broken = Broken()
    assert broken.fault and "IndexError: list index out of range" in broken.fault
    assert caplog.records[0].exc_info is not None and caplog.records[0].levelno == logging.INFO
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_without_end_are_told_by_name(number: float) -> None:
    assert "meta['means'][1][0] is" in str(Plain(Content({"means": [[0.5], [number]]}, FIRST)).fault)
    assert "selected['part'] is" in str(Plain(Content({}, FIRST | {"part": number})).fault)
    with pytest.raises(ValueError):
        page_text(title="", module="", style="", state={"x": number}, data=b"")


def test_words_are_words() -> None:
    plain = Plain(Content({}, FIRST), title=5)  # type: ignore[arg-type]
    assert plain.fault == "The title is 5, where words were expected: give a string."


def test_no_text_ends_the_state(tmp_path: Path) -> None:
    text = "<!--<script> & </script>"
    page = Plain(Content({"scenes": [text]}, FIRST), title=text).to_html(tmp_path / "page.html")
    state = re.search(r'id="arl-state">(.*)</script>\n', page.read_text(encoding="utf-8"))
    assert state and "<" not in state[1]
    assert json.loads(state[1])["meta"]["title"] == text


def test_wrong_paths_are_told(tmp_path: Path) -> None:
    plain = Plain(Content({}, FIRST))
    (tmp_path / "file").write_text("")
    for path, told in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "x.html", "another path"),
        (5, "path is 5"),
    ):
        with pytest.raises(UserError, match=told):
            plain.to_html(path)  # type: ignore[arg-type]
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("length", range(4))
def test_pages_weigh_what_is_said(tmp_path: Path, length: int) -> None:
    plain = Plain(Content({"word": "ζ </script>"}, FIRST, bytes(length)))
    page = plain.to_html(tmp_path / "new" / "page.html")
    assert page.stat().st_size == plain.page_bytes
    assert "ζ \\u003c/script>" in page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["page.html"], "nothing unfinished"


def test_only_some_pages_may_run_webassembly() -> None:
    words: dict[str, Any] = {"title": "", "module": "", "style": "", "state": {}, "data": b""}
    assert "wasm" not in page_text(**words)
    assert "script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:" in page_text(
        **words, wasm=True
    )


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        write_page(tmp_path / "page.html", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_module_elsewhere_uses_the_same_parts(tmp_path: Path) -> None:
    module = tmp_path / "mine.js"
    module.write_text(
        'import { skillTable } from "./parts/skill_table.js";\n'
        'const render = explorer({ kind: "mine", build: skillTable });\nexport default { render };\n'
    )
    (tmp_path / "mine.css").write_text(".arl-mine { color: red; }")
    source = module_source(module)
    assert source.count("function skillTable(") == 1 and "import " not in source
    assert source.index("function element(") < source.index("function skillTable(")
    style = style_source(module)
    assert style.endswith(".arl-mine { color: red; }") and ".arl-widget" not in style
    assert style.count(".arl-mine .arl-table caption") == 1


def names_at_the_top(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    names = set(re.findall(r"^(?:export )?(?:const|let|function|class) (\w+)", text, re.MULTILINE))
    for several in re.findall(r"^(?:export )?(?:const|let) \[([^\]]*)\]", text, re.MULTILINE):
        names |= set(re.findall(r"\w+", several))
    return names


def test_names_are_unique_among_parts() -> None:
    """Parts are joined into one module: a second function of a name would replace the first."""
    seen: dict[str, str] = {}
    twice = []
    for path in sorted((HERE / "parts").glob("*.js")):
        names = names_at_the_top(path)
        twice += [f"{name}: {seen[name]} and {path.stem}" for name in sorted(names) if name in seen]
        seen |= dict.fromkeys(names, path.stem)
    for entry in HERE.glob("*.js"):
        names = names_at_the_top(entry) - {"render"}
        twice += [f"{name}: {seen[name]} and {entry.stem}" for name in sorted(names) if name in seen]
    assert not twice, "; ".join(twice)
