"""Rewrite the examples in README.md and docs: what stands under each ``$ pertoken`` line becomes what the command prints.

Also writes docs/knobs.md from the table of knobs. ``tests/test_docs.py`` checks that nothing has drifted.
"""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

from pertoken.knobs import KNOBS

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```console\n\$ (?P<command>(?:pertoken|python benchmarks/)[^\n]*)\n(?P<output>.*?)```", re.DOTALL)
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))


def run(command: str) -> str:
    """What a command prints on stdout."""
    from pertoken.cli.main import cli

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if command.startswith("python"):
            runpy.run_path(str(ROOT / command.split()[1]), run_name="__main__")
            return out.getvalue()
        cli.main(shlex.split(command)[1:], prog_name="pertoken", standalone_mode=False)
    return out.getvalue()


def renewed(page: str) -> str:
    """A page with all its examples run again."""
    return BLOCK.sub(lambda m: f"```console\n$ {m['command']}\n{run(m['command'])}```", page)


def knob_page() -> str:
    """The page of knobs."""
    lines = [
        "# Knobs",
        "",
        "One table feeds flags, scenario files (`--scenario FILE.toml`) and this page. Any of them given twice compares.",
    ]
    for group in ("model", "machine", "traffic", "money"):
        lines += [
            "",
            f"## {group.capitalize()}",
            "",
            "| flag | in a scenario | kind | unit | range | |",
            "|---|---|---|---|---|---|",
        ]
        for knob in KNOBS.values():
            if knob.group == group:
                span = (
                    f"{knob.low:g} to {knob.high:g}" if knob.kind not in ("text", "choice") else ", ".join(knob.choices)
                )
                lines.append(f"| `{knob.flag}` | `{knob.name}` | {knob.kind} | {knob.unit} | {span} | {knob.doc} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """What every generated page should be."""
    found = {
        ROOT / name: renewed((ROOT / name).read_text(encoding="utf-8")) for name in PAGES if name != "docs/knobs.md"
    }
    return found | {ROOT / "docs" / "knobs.md": knob_page()}


if __name__ == "__main__":
    changed = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    sys.stderr.write(f"rewrote {', '.join(path.name for path in changed) or 'nothing'}\n")
