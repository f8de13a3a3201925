"""What ``pertoken measure`` does with each of its targets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from pertoken import __version__
from pertoken.cli import measuring
from pertoken.cli.measure import dump, key_of, knobs_of, progress
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.report import measure as report
from pertoken.report import probing as probe_report

DEFAULT_SECONDS, HERE_SECONDS = 300.0, 10.0
LOOKS = 5  # readings of a window of --watch
MISSED = 5  # readings in a row that may fail
LEAST_OUTPUT = 16.0  # tokens of a window from which its traffic is taken
TYPICAL_OUTPUT = 256.0  # tokens of an answer: requests are not counted by all engines


@dataclass
class Answer:
    """What was measured, in each form.

    Parameters
    ----------
    held : list
        Loads beside the prediction.
    probes : list
        Probes with what was made of them.
    machine : Machine or None
        This one.
    given : mapping
        The options.
    """

    held: list[Any] = field(default_factory=list)
    probes: list[Any] = field(default_factory=list)
    machine: Any = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(p.probe.stopped == "interrupted" for p in self.probes)

    def text(self) -> str:
        """Plain text."""
        parts = [report.runs_text(self.held)] if self.held else []
        parts += [probe_report.as_text(p) for p in self.probes]
        parts += [report.machine_text(self.machine)] if self.machine else []
        return "\n".join(parts)

    def json(self) -> str:
        """JSON."""
        if self.machine:
            return dump({"kind": "machine"} | report.machine_dict(self.machine))
        if self.probes and not self.held and len(self.probes) == 1:
            return dump(probe_report.as_dict(self.probes[0]))
        return dump({"kind": "runs", "runs": list(map(report.run_dict, self.held)),
                     "probes": list(map(probe_report.as_dict, self.probes))})  # fmt: skip

    def csv(self) -> str:
        """CSV."""
        if self.machine:
            raise PertokenError("this machine is no table; use --json, or -o FILE.toml")
        parts = [report.runs_csv(self.held)] if self.held else []
        return "\n".join([*parts, *map(probe_report.as_csv, self.probes)])

    def records(self) -> str:
        """A probe's records."""
        from pertoken.measure.records import to_lines

        if len(self.probes) != 1:
            raise PertokenError("records are of one probe; measure a server to have them")
        return to_lines(self.probes[0].probe)

    def toml(self) -> str:
        """An accelerator, or a calibration."""
        from pertoken.report import calibration

        today = dt.date.today()
        if self.machine:
            return report.machine_toml(self.machine, self.given["name"], today, __version__, self.given["watts"])
        if len(self.probes) != 1:
            raise PertokenError(
                "a calibration is of one probe; rows of a table are fitted by pertoken calibrate --from FILE.csv"
            )
        p = self.probes[0]
        if p.own is None:
            raise PertokenError(
                f"nothing was calibrated: {' and '.join(p.notes) or 'there is nothing to compare with'}"
            )
        if p.own.refused:
            raise PertokenError(f"nothing was calibrated: {p.own.refused}")
        return calibration.as_toml(p.own, "pertoken measure", today, __version__) + probe_report.steps_toml(p)


def here(given: Mapping[str, Any]) -> Answer:
    """Measure this machine."""
    from pertoken.measure.here import measure

    name = given["name"]
    if not 1 <= len(name) <= 60 or not name.isprintable():
        raise PertokenError(f"--name is {name[:60]!r}; it must have 1 to 60 characters")
    if given["watts"] is not None and not 0 < given["watts"] <= 1e6:
        raise PertokenError(f"--watts is {given['watts']:g}; it must be above 0 and at most 1e6 W")
    return Answer(machine=measure(given["max_seconds"] or HERE_SECONDS), given=given)


def read(paths: Sequence[Path], given: Mapping[str, Any]) -> Answer:
    """Read result files, each against the prediction."""
    from pertoken.measure import readers, records

    answer = Answer(given=given)
    for path in paths:
        documents = readers.read_documents(path)
        if records.match(documents):
            found = records.from_documents(documents, path.name)
            answer.probes.append(made_of(found, given, str(found.settings.get("model") or "")))
            continue
        for run in readers.runs_of(documents, path.name):
            where = measuring.setting(given["model"], _with_engine(given, run.engine), given["served"] or run.model)
            answer.held.append(measuring.hold(run, where))
    return answer


def _with_engine(given: Mapping[str, Any], told: str) -> dict[str, Any]:
    knobs = knobs_of(given)
    return ({"engine": told} if told and "efficiency" not in knobs else {}) | knobs


def made_of(found: Any, given: Mapping[str, Any], told: str) -> probe_report.Probed:
    """A probe with its fit, the model's view of it, and what it teaches."""
    from pertoken.measure import expected
    from pertoken.measure.fit import fit_answers
    from pertoken.measure.teach import taught

    steps = fit_answers(found.answers)
    where = measuring.setting(given["model"], knobs_of(given), given["served"] or told)
    if where.why_not:
        return probe_report.Probed(found, steps, notes=(where.why_not,))
    longest = max([p.fresh + p.cached for p in steps.prompts] + [b.context for b in steps.batches] + [16.0])
    try:
        deployment, rate, _ = where.placed(longest)
    except DoesNotFit as error:
        return probe_report.Probed(found, steps, notes=(f"not predicted: {error}",))
    compared = expected.compare(deployment, steps)
    notes = [f"predicted with {note}" for note in deployment.assumed]
    own = None
    try:
        own = taught(compared, deployment, dt.date.today().isoformat()) if compared else None
    except PertokenError as error:
        notes.append(f"no calibration: {error}")
    return probe_report.Probed(
        found, steps, compared, expected.expected_steps(deployment, steps), expected.deciding(deployment, steps), own, rate,
        deployment.accelerators, tuple(notes),
    )  # fmt: skip


def probe(url: str, given: Mapping[str, Any]) -> Answer:
    """Send requests to a server within limits."""
    from pertoken.measure.client import Client, base_of, is_local, need_httpx
    from pertoken.measure.design import Writer
    from pertoken.measure.energy import find_meter
    from pertoken.measure.probe import Runner

    base = base_of(url)
    need_httpx()
    if not given["served"]:
        raise PertokenError("the server needs the model's name; give --model NAME, as its /v1/models lists it")
    where = measuring.setting(given["model"], knobs_of(given), given["served"])
    if given["on"] and where.why_not:
        raise PertokenError(where.why_not)
    if not where.why_not:
        with contextlib.suppress(DoesNotFit):  # it runs, so that is for the report to say
            where.placed()
    limits, vocab = _limits(given, where), _vocabulary(given["model"] or given["served"])
    words = given["chat"] or given["words"]
    client = Client(base, given["served"], given["chat"], key_of(given), _timeout(given))
    settings = {"url": base, "model": given["served"], "chat": given["chat"], "prompts": "words" if words else "token ids",
                "seed": given["seed"], "version": __version__, "date": dt.date.today().isoformat()}  # fmt: skip
    meter = find_meter(given["energy"], given["watts"], is_local(base))
    runner = Runner(client, _design(given), Writer(given["seed"], not words, vocab), limits, settings, meter, progress)
    found = runner.run()
    if not found.answers:
        reasons = "; ".join(f"{count} x {kind}" for kind, count in runner.failures.most_common(5))
        raise PertokenError(
            f"{base} gave no answer that counts: {reasons or found.stopped or 'none came'}; check the address and --model"
        )
    return Answer(probes=[made_of(found, given, "")], given=given)


def _vocabulary(model: str) -> int:
    """Token ids that prompts may hold: the model's where it is known, else those of common tokenizers."""
    from pertoken.catalog.models import load_checkpoint
    from pertoken.measure.design import IDS

    try:
        return min(IDS, load_checkpoint(measuring.spelled(model)).model.vocab)
    except PertokenError:
        return IDS


def _timeout(given: Mapping[str, Any]) -> float:
    if not 0.05 <= given["timeout"] <= 3600:
        raise PertokenError(f"--timeout is {given['timeout']:g}; it must be from 0.05 to 3,600 s")
    return float(given["timeout"])


def _design(given: Mapping[str, Any]) -> Any:
    from pertoken.measure.design import Design

    try:
        batches = tuple(dict.fromkeys(int(part) for part in given["at_once"].split(",")))
    except ValueError as error:
        raise PertokenError(f"--at-once is {given['at_once'][:60]!r}; write whole numbers, such as 1,2,4,8") from error
    if not 1 <= given["rounds"] <= 1000:
        raise PertokenError(f"--rounds is {given['rounds']}; it must be from 1 to 1,000")
    return Design(given["max_input"], given["max_output"], batches, given["rounds"])


def _limits(given: Mapping[str, Any], where: measuring.Setting) -> Any:
    from pertoken.measure.probe import Limits

    prices = [math.nan, math.nan]
    if given["tariff"]:
        try:
            prices = [float(part) for part in given["tariff"].split(":")]
        except ValueError:
            prices = []
        if len(prices) != 2 or not all(0 <= p <= 1e6 for p in prices):
            raise PertokenError(
                f"--price is {given['tariff'][:40]!r}; write INPUT:OUTPUT in dollars per million tokens, such as 3:15"
            )
    seconds = given["max_seconds"] if given["max_seconds"] is not None else DEFAULT_SECONDS
    paid = math.nan
    if math.isfinite(given["max_usd"]) and not given["tariff"] and not where.why_not and given["rate"]:
        deployment, rate, _ = where.placed()
        paid = rate.usd_per_second * deployment.accelerators if rate else math.nan
    return Limits(given["max_requests"], seconds, given["max_usd"], prices[0], prices[1], paid)


def watch(url: str, given: Mapping[str, Any], as_json: bool) -> None:
    """Follow a server's counters until it is interrupted, or --max-seconds are over."""
    from pertoken.measure.client import Client, base_of, need_httpx
    from pertoken.measure.exporter import Exporter
    from pertoken.measure.watch import Watch

    base = base_of(url)
    need_httpx()
    if not 0.1 <= given["every"] <= 3600:
        raise PertokenError(f"--every is {given['every']:g}; it must be from 0.1 to 3,600 s")
    where = measuring.setting(given["model"], knobs_of(given), given["served"])
    paid = _paid(given, where)
    watcher = Watch(paid, None)
    exporter = Exporter(given["exporter"]) if given["exporter"] is not None else None
    if exporter:
        click.echo(f"exporting on http://127.0.0.1:{exporter.port}/metrics", err=True)
    try:
        asyncio.run(
            _follow(
                Client(base, key=key_of(given), timeout=min(_timeout(given), 10.0)),
                watcher,
                exporter,
                given,
                where,
                as_json,
            )
        )
    except KeyboardInterrupt:
        click.echo("", err=True)
    finally:
        if exporter:
            exporter.close()


def _paid(given: Mapping[str, Any], where: measuring.Setting) -> float:
    """Dollars per second of the machine; 0 where no rate is to be had."""
    from pertoken.catalog.rates import parse_rate
    from pertoken.scenario import parse_on

    if not where.why_not:
        deployment, rate, notes = where.placed()
        if rate is None:
            click.echo(f"pertoken: no prices: {notes[-1]}", err=True)
        return rate.usd_per_second * deployment.accelerators if rate else 0.0
    if not given["on"]:
        click.echo("pertoken: no prices: give --on NxACCELERATOR, and --rate where its rent is not known", err=True)
        return 0.0
    machine = parse_on(given["on"])
    rate = parse_rate(given["rate"] or "rent", machine.accelerator)
    click.echo(f"pertoken: the bill is not shared over kinds of tokens: {where.why_not}", err=True)
    return rate.usd_per_second * (machine.count or 1)


async def _follow(
    client: Any, watcher: Any, exporter: Any, given: Mapping[str, Any], where: measuring.Setting, as_json: bool
) -> None:
    from pertoken.measure.stream import Failure
    from pertoken.measure.watch import read as read_page

    end = time.monotonic() + (given["max_seconds"] or math.inf)
    missed, count = 0, 0
    async with client:
        while True:
            due = time.monotonic() + given["every"]
            for look in range(LOOKS):
                try:
                    watcher.look(read_page(await client.page("/metrics"), time.monotonic()))
                    missed = 0
                except Failure as failure:
                    missed += 1
                    if missed >= MISSED:
                        raise PertokenError(
                            f"the server's metrics cannot be read: {failure.kind}; is it up, and are they on?"
                        ) from failure
                await asyncio.sleep(
                    max(0.0, min(due - given["every"] * (1.0 - (look + 1) / LOOKS), end) - time.monotonic())
                )
            window = watcher.window()
            if window is not None:
                _share_by_model(watcher, window, where)
                _show(window, exporter, count, as_json)
                count += 1
            if time.monotonic() >= end:
                return


def _share_by_model(watcher: Any, window: Any, where: measuring.Setting) -> None:
    """From the first window with traffic on, the bill is shared as the model shares it at that traffic."""
    from pertoken.measure.runs import Run
    from pertoken.measure.watch import Weights, share

    if where.why_not or watcher.usd_per_second <= 0 or window.tokens.get("output", 0.0) < LEAST_OUTPUT:
        return
    if watcher.weights is None:
        fresh, cached, output = (window.tokens.get(kind, 0.0) for kind in ("input", "cached", "output"))
        limit = where.placed()[0].model.context_limit
        answer = min(TYPICAL_OUTPUT, limit / 4.0)
        each = min(answer / output, limit / 2.0 / max(1.0, fresh + cached))
        flying = window.running if window.running > 1 else 1.0
        run = Run(
            "watch",
            "",
            input=max(1.0, (fresh + cached) * each),
            output=answer,
            cached=cached * each,
            concurrency=flying,
        )
        cost = where.cost(run)
        if cost is None:
            return
        values = {kind: float(getattr(cost.accelerator_s, kind).value) for kind in ("input", "cached", "output")}
        watcher.weights = Weights(
            **{k: v if math.isfinite(v) else 0.0 for k, v in values.items()}, origin="the model at this traffic"
        )
    window.usd_of.clear()
    window.usd_of.update(share(window.usd, window.busy, window.tokens, watcher.weights))


def _show(window: Any, exporter: Any, count: int, as_json: bool) -> None:
    import json

    from pertoken.report import watching

    if exporter:
        exporter.show(window)
    if as_json:
        click.echo(json.dumps(watching.as_dict(window), allow_nan=False))
        return
    if count % 20 == 0:
        click.echo(watching.head())
    click.echo(watching.row(window, dt.datetime.now().strftime("%H:%M:%S")))
