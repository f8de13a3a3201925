"""Which questions there are, and asking them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pertoken.answers.base import Answer, Asked
from pertoken.answers.batch import once
from pertoken.answers.money import powered, rented
from pertoken.answers.position import along
from pertoken.answers.traffic import mix, tenth
from pertoken.answers.transfers import subsidies
from pertoken.answers.why import cheaper, memory
from pertoken.errors import PertokenError

QUESTIONS: dict[int, Callable[[Asked], Answer]] = {
    1: cheaper, 2: memory, 3: once, 4: along, 5: subsidies, 6: rented, 7: powered, 8: tenth, 9: mix,
}  # fmt: skip


def read_questions(texts: Iterable[str]) -> list[int]:
    """Numbers of questions from ``4`` or ``1,2``; all where none is given.

    Raises
    ------
    PertokenError
        When one is no question.
    """
    words = [word.strip() for text in texts for word in str(text).split(",")]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 4 and int(word) in QUESTIONS):
            raise PertokenError(
                f"--question is {word[:40]!r}; give a number from 1 to {max(QUESTIONS)}, or leave it out for all"
            )
    return sorted({int(word) for word in words}) or list(QUESTIONS)


def answer(asked: Asked, questions: Iterable[int] = tuple(QUESTIONS)) -> list[Answer]:
    """The answers to some questions, or all.

    Parameters
    ----------
    asked : Asked
        The case, and what is known around it.
    questions : iterable of int
        Numbers from 1 to 9.
    """
    return [QUESTIONS[number](asked) for number in questions]
