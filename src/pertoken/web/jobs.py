"""What a worker process does: waits for a job, does it within what strangers may do, and sends back the answer."""

from __future__ import annotations

import gc
import gzip
import json
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from pertoken.catalog import files
from pertoken.errors import PertokenError
from pertoken.report.document import clean

SMALL, LEVEL = 1000, 3  # bytes that are not worth packing, and how hard the rest is packed
JSON = "application/json"
PLAIN = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Answer:
    """What a job found.

    Parameters
    ----------
    body : bytes
        Packed if ``packed``.
    kind : str
        Media type.
    packed : bool
        Whether the body is gzip.
    name : str
        Of the file, where it is one to save.
    """

    body: bytes
    kind: str = JSON
    packed: bool = False
    name: str = ""


@dataclass(frozen=True)
class Refused:
    """A sentence in place of an answer; ``crash`` is a fault of ours, with its traceback."""

    sentence: str
    exit_code: int = 2
    crash: bool = False


def as_json(found: Any) -> bytes:
    """Plain data as JSON; unknown figures are null."""
    try:
        return orjson.dumps(found, default=clean, option=PLAIN)
    except TypeError:  # integers beyond 64 bits, names that are no text
        return json.dumps(clean(found), allow_nan=False, separators=(",", ":")).encode()


def answered(found: Any) -> Answer:
    """A result as bytes, packed where that helps."""
    text = found.encode() if isinstance(found, str) else b"" if isinstance(found, Answer) else as_json(found)
    plain = found if isinstance(found, Answer) else Answer(text)
    if len(plain.body) < SMALL:
        return plain
    return Answer(gzip.compress(plain.body, LEVEL, mtime=0), plain.kind, True, plain.name)


def in_a_line(sentence: str) -> str:
    """A sentence whose control characters, of a file that was sent, show as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(sentence.split()))


def do(job: str, body: str, uploads: Path, tell: Tell) -> Answer | Refused:
    """One job. Never raises."""
    from pertoken.web.api import JOBS

    try:
        with files.closed(uploads):
            return answered(JOBS[job](json.loads(body), tell))
    except PertokenError as error:
        return Refused(in_a_line(str(error)), error.exit_code)
    except MemoryError:
        return Refused("this takes more memory than there is; ask for less")
    except Exception:
        return Refused(traceback.format_exc(), crash=True)


def serve(pipe: Connection, uploads: Path) -> None:
    """Answer jobs until the pipe is closed; the server, not the terminal, says when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what was loaded stays; looking through it again and again takes a tenth of the time
    try:
        while True:
            job, body = pipe.recv()
            pipe.send(("done", do(job, body, uploads, lambda line: pipe.send(("line", line)))))
    except (EOFError, OSError):
        return
