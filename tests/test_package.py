"""What is installed: the command, quick to start, and all data with its notices."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata, resources
from pathlib import Path

import pytest

import pertoken

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pertoken"
COMMAND = Path(sys.executable).with_name("pertoken")
NOTICES = ("catalog/NOTICE.md", "catalog/traces/NOTICE.md", "catalog/rates/NOTICE.md")
DATA = (
    "py.typed", "catalog/traces/azure-2023-conversation.csv.gz", "catalog/rates/rents.csv", "catalog/models/llama-3.1-8b.toml",
    "catalog/accelerators/h100-sxm.toml", "catalog/engines/vllm.toml", "catalog/efficiency/h100-sxm.toml", *NOTICES,
)  # fmt: skip


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_installed_command_answers() -> None:
    done = command("price", "llama-3.1-70b", "--on", "8xh100-sxm", "--dtype", "fp8", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["per_million"]["output"]["value"] > 0


def test_exit_codes_of_the_installed_command() -> None:
    for code, arguments in ((2, ("price", "nope")), (3, ("price", "llama-3.1-405b", "--on", "1xh100-sxm"))):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("pertoken: ") and done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    pipe = f"'{COMMAND}' list models | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_version() -> None:
    assert command("--version").stdout.split()[-1] == pertoken.__version__ == metadata.version("pertoken")


def test_help_loads_no_numpy() -> None:
    code = "import sys; from pertoken.cli import main; sys.argv = ['pertoken', '--help']\n"
    code += "try: main.run()\nexcept SystemExit: pass\n"
    code += "sys.exit(3 if 'numpy' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names() -> None:
    for name in pertoken.__all__:
        assert getattr(pertoken, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pertoken.nothing  # type: ignore[attr-defined]


def test_data_is_reachable_as_installed() -> None:
    for name in DATA:
        assert resources.files("pertoken").joinpath(name).is_file(), name


def test_everything_under_the_package_is_shipped() -> None:
    """The wheel takes the folder whole; only version control's ignore list could leave data out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/pertoken"]}
    assert "src/pertoken/catalog/NOTICE.md" in project["project"]["license-files"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    paths = [path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(paths) > 200
    for path in paths:
        for pattern in ignored:
            assert not path.match(pattern.strip("/")), (path.name, pattern)


@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed, so no wheel is built"
)
def test_the_wheel_holds_all_data(tmp_path: Path) -> None:
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        held = set(wheel.namelist())
    needed = {
        f"pertoken/{path.relative_to(SOURCE)}" for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert needed <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)
