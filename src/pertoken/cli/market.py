"""The command ``market``: what vendors charge against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pertoken.cli.options import complete, knob_options, read_cases
from pertoken.errors import PertokenError
from pertoken.report.place import place

if TYPE_CHECKING:
    from pertoken.cli.market_views import Asked
    from pertoken.market.offers import Offer
    from pertoken.report.market import View

TITLE = "What vendors charge against what it costs"


@click.command()
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option(
    "--offer",
    "offers",
    multiple=True,
    metavar="PROVIDER/MODEL",
    help="Look at an offer closely: what it implies, break-even.",
)
@click.option("--prices", "own", metavar="FILE", help="Offers of your own, TOML or CSV, in $ per million tokens.")
@click.option(
    "--spend", metavar="$/PERIOD", help="What you pay an API, such as 4000/month: what serving that yourself costs."
)
@click.option("--requests", type=float, metavar="NUMBER", help="Requests a day, instead of --spend.")
@click.option("--usage", metavar="FILE.csv", help="Your tokens by day (input, cached, output; requests if known).")
@click.option("--redundancy", type=int, default=1, metavar="WHOLE", help="Spare machines, n + this (default: 1).")
@click.option(
    "--written", type=float, metavar="SHARE", help="Share of uncached input that is written to the vendor's cache."
)
@click.option("--tariff", "form", default="flat", metavar="one|flat|cached|fee|cliff|marginal",
              help="With --trace: the fitted tariff shown by length (default: flat).")  # fmt: skip
@click.option("--ratios", is_flag=True, help="The whole price list: output over input, context tiers.")
@click.option("--history", is_flag=True, help="Prices over time, of MODEL or of all that changed.")
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE", help="Also write .json .csv .md .html .txt, or a chart .png .svg."
)
@click.option("--today", envvar="PERTOKEN_TODAY", metavar="DATE", help="Day of the prices.")
def market(
    model: tuple[str, ...],
    offers: tuple[str, ...],
    own: str | None,
    spend: str | None,
    requests: float | None,
    usage: str | None,
    redundancy: int,
    written: float | None,
    form: str,
    ratios: bool,
    history: bool,
    scenario: str | None,
    as_json: bool,
    as_csv: bool,
    target: str | None,
    today: str | None,
    **given: tuple[str, ...],
) -> None:
    """What vendors charge for a model against what it costs here: margin, what a price implies, break-even, tariffs.

    Prices are list prices of the package genai-prices, by provider and exact model id, on the day of --today. With --trace:
    what each request costs against what tariffs charge, so who pays for whom.

    \b
    pertoken market llama-3.3-70b --on 8xh100-sxm --dtype fp8
    pertoken market gpt-oss-120b --on 2xh100-sxm --offer together/openai/gpt-oss-120b --spend 4000/month
    pertoken market llama-3.1-70b --on 8xh100-sxm --dtype fp8 --trace mooncake-conversation -o tariffs.svg
    pertoken market claude-sonnet-4-5
    pertoken market --ratios
    """
    from pertoken.cli.curve import FORMS
    from pertoken.cli.market_views import list_views, views_of
    from pertoken.market.fit import FORMS as TARIFFS

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    if form not in TARIFFS:
        raise PertokenError(f"--tariff is {form[:40]!r}; use one of {', '.join(TARIFFS)}")
    if ratios and history:
        raise PertokenError("--ratios and --history cannot both be given; ask for one after the other")
    told = [n for n, v in (("spend", spend), ("requests", requests), ("usage", usage)) if v is not None]
    if len(told) > 1:
        raise PertokenError(
            f"--{told[0]} and --{told[1]} cannot both be given: each tells how much is sent; leave one out"
        )
    path = place(target, FORMS) if target is not None else None
    asked = _asked(offers, own, spend, requests, usage, redundancy, written, form, today)
    whole_list = ratios or history
    cases = (
        []
        if whole_list and (history or not model)
        else read_cases(model, scenario, given, "pertoken market llama-3.3-70b")
    )
    traced = any("trace" in case for case in cases)
    views = list_views(model, history, asked, cases) if whole_list else views_of(cases, asked, traced)
    if path:  # first, so that a reader who closes the pipe early does not lose the file
        _write(path, views)
        click.echo(f"wrote {path}", err=True)
    click.echo(_shown(views, "json" if as_json else "csv" if as_csv else "txt"), nl=False)


def _asked(
    offers: tuple[str, ...], own: str | None, spend: str | None, requests: float | None, usage: str | None, spare: int,
    written: float | None, form: str, today: str | None,
) -> Asked:  # fmt: skip
    """Options read and checked."""
    from pertoken.cli.market_views import Asked, parse_spend, share_of
    from pertoken.cli.money import parse_day

    mine: list[Offer] = []
    if own:
        from pertoken.catalog.offers import read_own

        mine = read_own(Path(own).expanduser())
    table = None
    if usage:
        from pertoken.catalog.usage import read_usage

        table = read_usage(usage)
    share_of("--redundancy", float(spare), 0.0, 1000.0)
    return Asked(
        parse_day(today), mine, offers, parse_spend(spend), share_of("--requests", requests, 1e-6, 1e12), table, spare,
        share_of("--written", written, 0.0, 1.0), form,
    )  # fmt: skip


def _shown(views: Sequence[View], form: str) -> str:
    """All views in one form."""
    import csv
    import io
    import json

    from pertoken.report import market_cases
    from pertoken.report.document import clean, safe_cell

    if form == "txt" and market_cases.comparable(views):
        return market_cases.as_text(views)  # type: ignore[arg-type]
    if form == "txt":
        return "\n".join(view.text() for view in views)
    if form == "json":
        found = [clean(view.document()) for view in views]
        return json.dumps(found[0] if len(found) == 1 else {"cases": found}, indent=2, allow_nan=False) + "\n"
    rows = [row for view in views for row in view.rows()]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([safe_cell("" if row.get(key) is None else row.get(key, "")) for key in heads] for row in rows)
    return out.getvalue()


def _write(path: Path, views: Sequence[View]) -> None:
    """A file by its suffix, whole or not at all."""
    from pertoken.report import export
    from pertoken.report.svg import PICTURES, picture

    suffix = path.suffix.lower()
    if suffix in PICTURES:
        if len(views) > 1:
            raise PertokenError(
                f"a chart shows one case, and {len(views)} were asked for; write .html or .json, or ask one at a time"
            )
        export.write_whole(path, picture(views[0].chart(), suffix))
    elif suffix in (".json", ".csv"):
        export.write_whole(path, _shown(views, suffix[1:]))
    else:
        shown = _shown(views, "txt")
        export.write_whole(
            path,
            export.as_markdown(shown, TITLE)
            if suffix == ".md"
            else export.as_html(shown, TITLE)
            if suffix == ".html"
            else shown,
        )
