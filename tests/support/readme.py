"""Reads README's code blocks, so that tests can do what it says and compare what it promises."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One code block. `kind` is the word after the fence; `answer` is the text of the block right after it."""

    kind: str
    text: str
    answer: str


def section(text: str, heading: str) -> str:
    """What stands below a heading `## …` or `### …`, up to the next of the same rank or a higher one."""
    rank = heading.index(" ")
    start = text.index(f"\n{heading}\n") + 1
    following = re.compile(rf"^#{{1,{rank}}} ", re.MULTILINE).search(_without_code(text), start + len(heading))
    return text[start : following.start() if following else None]


def blocks(text: str) -> list[Block]:
    """The code blocks in their order."""
    found = list(_BLOCK.finditer(text))
    answers = [
        _text(after) if text[block.end() : after.start()].strip() == "" and after["kind"] in ("", "json") else ""
        for block, after in pairwise(found)
    ]
    return [Block(block["kind"], _text(block), answer) for block, answer in zip(found, [*answers, ""], strict=True)]


def fits(expected: str, actual: str) -> bool:
    """Whether an answer is the one in README: `…` stands for anything, times may differ, and white space is ignored."""
    shape = re.escape(re.sub(r"\s+", "", expected)).replace("…", ".*?")
    shape = re.sub(r"\d{4}\\-\d\d\\-\d\dT\d\d:\d\d:\d\d\\.\d+Z", r"[0-9T:.Z-]+", shape)
    return re.fullmatch(shape, re.sub(r"\s+", "", actual), re.DOTALL) is not None


def _text(block: re.Match[str]) -> str:
    return re.sub(rf"^{block['indent']}", "", block["text"], flags=re.MULTILINE)


def _without_code(text: str) -> str:
    """The same text with code blanked out, so that a comment in it is no heading."""
    return _BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
