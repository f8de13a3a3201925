"""Imports run one way, and the inner layers neither read nor write nor look at a clock or a die."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pertoken

ROOT = Path(pertoken.__file__).parent
# imports run from a later line to an earlier one, or stay within a package
ORDER = (
    ("errors",),
    ("units",),
    ("sources", "knobs"),
    ("model",),
    ("hardware",),
    ("engine",),
    ("serving",),
    ("attribution",),
    ("money",),
    ("explain",),
    ("cost",),
    ("sweep",),
    ("simulate", "market", "calibrate", "whatif"),
    ("measure",),
    ("report",),
    ("answers",),
    ("catalog",),
    ("sizing",),
    ("scenario",),
    ("simulation",),
    ("sweeping",),
    ("cli",),
    ("web",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
INNER = {name for names in ORDER[: ORDER.index(("sweep",)) + 1] for name in names}
FACADES = {"__init__.py", "__main__.py"}
UPWARD = {"cli/serve.py": "web"}  # the command that opens the page, which speaks through the commands
NO_MODULES = {
    "io", "os", "pathlib", "sys", "time", "random", "socket", "subprocess", "shutil", "tempfile", "glob", "urllib", "http",
    "logging", "secrets", "uuid", "threading", "multiprocessing", "asyncio", "requests", "click", "rich", "importlib",
    "sqlite3", "pickle", "ctypes", "getpass", "platform", "locale", "builtins",
}  # fmt: skip
NO_CALLS = {"print", "open", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
NO_ATTRIBUTES = {
    "now",
    "today",
    "utcnow",
    "random",
    "environ",
    "getenv",
    "read_text",
    "write_text",
    "fromfile",
    "loadtxt",
}


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    """Dotted modules that a source imports, with their lines; relative imports keep their dots."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.module == "pertoken" and not node.level:
                found += [(node.lineno, f"pertoken.{name.name}") for name in node.names]
            else:
                found.append((node.lineno, "." * node.level + (node.module or "")))
    return found


def faults(where: str, source: str) -> list[str]:
    """What a module of pertoken, at a path such as ``engine/ops.py``, does that the architecture forbids."""
    home = Path(where).parts[0].removesuffix(".py")
    tree = ast.parse(source)
    if home not in RANK:
        return [f"{where}: {home} has no place in the order of imports"]
    found = []
    for line, module in imported(tree):
        parts = module.split(".")
        if module.startswith("."):
            found.append(f"{where}:{line} imports relatively")
        elif parts[0] == "pertoken":
            if parts[-1] == "__version__":
                continue
            if len(parts) < 2 or parts[1] not in RANK:
                found.append(f"{where}:{line} imports {module}, which has no place in the order")
            elif parts[1] not in (home, UPWARD.get(where)) and RANK[parts[1]] >= RANK[home]:
                found.append(f"{where}:{line} imports {module}, which comes after it")
        elif home in INNER and parts[0] in NO_MODULES:
            found.append(f"{where}:{line} imports {module}")
    return found + (impure(where, tree) if home in INNER else [])


def impure(where: str, tree: ast.AST) -> list[str]:
    """Calls that read, write, or depend on more than their arguments."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NO_CALLS:
            found.append(f"{where}:{node.lineno} calls {node.func.id}")
        if isinstance(node, ast.Attribute) and node.attr in NO_ATTRIBUTES:
            found.append(f"{where}:{node.lineno} uses {node.attr}")
        if isinstance(node, ast.Global):
            found.append(f"{where}:{node.lineno} has a global")
    return found


SOURCES = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py"))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 30
    assert {"cost.py", "units.py", "engine/ops.py"} <= set(SOURCES)


@pytest.mark.parametrize("where", [s for s in SOURCES if s not in FACADES])
def test_no_source_breaks_the_architecture(where: str) -> None:
    assert faults(where, (ROOT / where).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("where", SOURCES)
def test_files_are_short(where: str) -> None:
    assert len((ROOT / where).read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("units.py", "from pertoken.cost import Cost"),
        ("model/model.py", "from pertoken.hardware.accelerator import Accelerator"),
        ("engine/ops.py", "def f():\n    from pertoken.serving.steady import steady"),
        ("serving/steady.py", "import pertoken.attribution.ledger"),
        ("attribution/shares.py", "from pertoken import cost"),
        ("money/rate.py", "from pertoken.report import text"),
        ("cost.py", "from pertoken.catalog import files"),
        ("report/text.py", "from pertoken.catalog import files"),
        ("catalog/files.py", "from pertoken.cli import main"),
        ("cli/price.py", "from pertoken.web import serve"),
        ("engine/ops.py", "from . import step"),
        ("engine/ops.py", "from pertoken.nowhere import x"),
        ("nowhere/ops.py", ""),
        ("units.py", "import os"),
        ("cost.py", "from pathlib import Path"),
        ("serving/trace.py", "import os.path as p"),
        ("hardware/link.py", "def f():\n    import socket"),
        ("sources.py", "import datetime as dt\nx = dt.datetime.now()"),
        ("sources.py", "import datetime as dt\nx = dt.date.today()"),
        ("engine/ops.py", "import numpy as np\nx = np.random.rand()"),
        ("model/model.py", "print('hello')"),
        ("knobs.py", "x = open('y')"),
        ("attribution/ledger.py", "def f():\n    global x"),
    ],
)
def test_made_up_faults_are_caught(where: str, source: str) -> None:
    assert faults(where, source), "negative control: the checker must see this"


def test_what_is_allowed_is_not_a_fault() -> None:
    good = (
        "import datetime as dt\nimport numpy as np\nfrom pertoken.units import GIGA\nx: dt.date = dt.date(2026, 1, 1)\n"
    )
    assert faults("sources.py", good) == []
    assert faults("cli/main.py", "import os\nfrom pertoken.catalog import files\nprint(1)") == []
