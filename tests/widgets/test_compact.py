"""JavaScript with less white space is the same JavaScript."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.widgets.compact import compact
from atmorep_lite.widgets.page import HERE

PROGRAM = r"""
// a comment with `a backtick` and "quotes"
const seen = [];
const half = (x) => x / 2; // a division is no regular expression
const text = "two  spaces // no comment", other = 'it\'s  /* none */';
/* a longer
   comment */
const words = `nested ${[1, 2].map((n) => `<${ n }  ${"}"}>`).join(" ,  ")}  kept`;
seen.push(/a  b\/[/*]c/g.source, text.replace(/ {2}/, "_"))
seen.push(other)
let [a, b] = [1, 2]
a++
b--
seen.push(a - -b, a + +b, a - --b, half(9) / 3 / 0.5)
const object = {
  key: 1,
  ...{ more: [1, , 3] },
  get it() { return this.key ?? 0 },
}
;(function () { seen.push(typeof object, object?.it, "k" in object ? 1 : 2) })()
const long = a
  + b
  * 3
function late() {
  return (
    words
  )
}
if (a) seen.push(late())
else seen.push(null)
for (const x of [1]) if (x > 0 && x !== 2) seen.push(x, long, 1_000 .toFixed(1))
return JSON.stringify(seen)
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("const a = 1;\n  // why\nconst b = 2;\n", "let a=1;let b=2;\n"),
        ("/* one\n two */ let x = y + +z - -w;", "let x=y+ +z- -w;\n"),
        ("if (a) return b;\nelse return c;", "if(a)return b;else return c;\n"),
        ("const s = 'a  b // c' + \"d  e\";", "let s='a  b // c'+\"d  e\";\n"),
        ("const t = `a  ${ f( `b  ${c}`, '}' ) } // d`;", "let t=`a  ${f(`b  ${c}`,'}')} // d`;\n"),
        ('s.replace(/ \\/ [/ "]/g, x) / 2 / y;', 's.replace(/ \\/ [/ "]/g,x)/2/y;\n'),
        ("const f = () => {\n  g();\n};\nf();", "let f=()=>{g()};f();\n"),
        ("function f() {\n}\nfunction g() {}", "function f(){}\nfunction g(){}\n"),
        ("a\n(b)", "a\n(b)\n"),
        ("{ while (f(a)); }", "{while(f(a));}\n"),  # an empty body stays
        ("{ if (a) b(); else; }", "{if(a)b();else;}\n"),
        ("{ a = (b); }", "{a=(b)}\n"),
        ("x in y; typeof /a b/.test(c)", "x in y;typeof/a b/.test(c)\n"),
        ("const [a, ...b] = c ?? d?.e;", "let[a,...b]=c??d?.e;\n"),
    ],
)
def test_only_white_space_goes(source: str, expected: str) -> None:
    assert compact(source) == expected


def test_what_is_no_javascript_is_refused() -> None:
    with pytest.raises(ValueError, match="no JavaScript"):
        compact("const a = 'never closed")


def test_the_program_does_the_same(browser: WebDriver) -> None:
    browser.get("about:blank")
    before, after = (browser.execute_script(source) for source in (PROGRAM, compact(PROGRAM)))
    assert before == after and len(before) > 100
    assert len(compact(PROGRAM)) < 0.9 * len(PROGRAM)


@pytest.mark.parametrize("path", sorted(HERE.glob("**/*.js")), ids=lambda path: path.stem)
def test_files_keep_their_words(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    once = compact(source)
    assert compact(once) == once
    assert len(once) <= len(source)
    words = re.compile(r"[\w$]+")
    code = "\n".join(
        line.split(" // ")[0] for line in source.splitlines() if not line.lstrip().startswith("//")
    )
    assert words.findall(once) == ["let" if word == "const" else word for word in words.findall(code)]


def test_parts_are_still_readable_where_they_are_written() -> None:
    assert "\n  " in (HERE / "parts" / "frame.js").read_text(encoding="utf-8")
