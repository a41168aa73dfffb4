"""The first sentences of a paragraph or list, formulas and links in them kept whole."""

from __future__ import annotations

import copy
import re

from bs4 import NavigableString, Tag

WORDS = 5  # a first sentence of fewer is shown with the next one
END = re.compile(r"[.!?][\"”’)]?(?=\s)|[.!?][\"”’)]?$")
NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|Fig|Eq|Dr|al|approx|no|p)|^\W*\d+|\b[A-Z])\.$")


def shortened(element: Tag, count: int) -> Tag:
    """A copy of a paragraph, or list, with so many sentences at most of it, or of each item."""
    short = copy.copy(element)
    for part in short.find_all("li", recursive=False) or [short]:
        first_sentences(part, count)
    return short


def first_sentences(element: Tag, count: int = 1) -> None:
    """Cut a paragraph or list item after so many sentences, or a later one where the first is very short."""
    children = list(element.children)
    paragraphs = element.find_all("p", recursive=False)
    if paragraphs:  # a list item of paragraphs
        first_sentences(paragraphs[0], count)
        for child in children[children.index(paragraphs[0]) + 1 :]:
            child.extract()
        return
    words = 0  # so far
    for index, child in enumerate(children):
        if isinstance(child, NavigableString):
            ends = [
                match.end()
                for match in END.finditer(child)
                if (match.end() < len(child) or index + 1 == len(children))
                and words + len(child[: match.end()].split()) >= WORDS
                and not NO_END.search(child[: match.end()])
            ]
        else:  # a sentence in bold, say
            enough = words + len(child.text.split()) >= WORDS
            ends = [0] if enough and re.search(r"\w{2}\W*[.!?]$", child.text) else []
        words += len(child.text.split())
        if len(ends) >= count:
            for later in children[index + 1 :]:
                later.extract()
            if isinstance(child, NavigableString):
                child.replace_with(NavigableString(child[: ends[count - 1]]))
            return
        count -= len(ends)
