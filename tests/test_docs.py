"""Every example in the docs prints what the page says, and every Python example runs."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def _maker():
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _maker()


@pytest.mark.parametrize("name", [n for n in MAKER.PAGES if n != "docs/knobs.md"])
def test_examples_print_what_the_page_says(name):
    page = (ROOT / name).read_text(encoding="utf-8")
    assert MAKER.renewed(page) == page, f"{name} has drifted: python scripts/make_docs.py"


def test_an_altered_page_is_noticed():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    altered = page.replace("per million tokens", "per thousand tokens")
    assert altered != page
    assert MAKER.renewed(altered) != altered


def test_knob_page_is_the_table():
    assert (ROOT / "docs" / "knobs.md").read_text(encoding="utf-8") == MAKER.knob_page()


@pytest.mark.parametrize("name", MAKER.PAGES)
def test_python_examples_run(name):
    for code in PYTHON.findall((ROOT / name).read_text(encoding="utf-8")):
        exec(compile(code, name, "exec"), {})
