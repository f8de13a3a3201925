"""Questions 6 and 7: what a token costs from the rent of its machine, and from its electricity alone."""

from __future__ import annotations

from dataclasses import replace

from pertoken.answers.base import Answer, Asked, Row, Words, sentence
from pertoken.cost import Cost, Interval
from pertoken.money.rate import Rate
from pertoken.units import HOUR, JOULES_PER_KWH, MILLION, format_money


def at_rate(cost: Cost, rate: Rate) -> Cost:
    """The same operating point at another rate."""
    drawn = rate.drawing(cost.meter.busy_watts * cost.site.factor) if cost.meter else rate
    return replace(cost, rate=drawn)


def rented(asked: Asked) -> Answer:
    """Question 6."""
    question = "What does a token cost from the rent of a GPU, input and output apart?"
    command, deeper = asked.command("answers", "--question", "6"), asked.command("price")
    rate = asked.rates.get("rent")
    if rate is None:
        words = Words(False)
        return Answer(6, question, _unrented(words, asked), words, _rates(asked), command, deeper)
    words, cost = Words(True), at_rate(asked.cost, rate)
    text = sentence(_hour(words, cost), _split(words, cost), _twice(words, cost), _band(words, cost))
    return Answer(6, question, text, words, _rates(asked), command, deeper)


def _unrented(words: Words, asked: Asked) -> str:
    """The answer where no rent is known."""
    each = asked.cost.accelerator_s.scaled(MILLION)
    both = [words.money(name, getattr(each, name).value) for name in ("input", "output")]
    dollars = [
        words.keep(f"{name}_at_a_dollar", getattr(each, name).value / HOUR, "$ per million tokens",
                   format_money(getattr(each, name).value / HOUR))
        for name in ("input", "output")
    ]  # fmt: skip
    return (
        f"No rent is known: {words.quote(asked.missing.get('rent', 'none was given'))}. A million input tokens take"
        f" {both[0]} and a million output tokens {both[1]}. So each dollar of hourly rent makes {dollars[0]} a"
        f" million input tokens and {dollars[1]} a million output tokens."
    )


def _dollars(words: Words, name: str, value: float, unit: str) -> str:
    return words.keep(name, value, unit, format_money(value))


def _hour(words: Words, cost: Cost) -> str:
    assert cost.rate
    n, a = cost.deployment.accelerators, words.quote(cost.deployment.accelerator.name)
    each = _dollars(words, "rent", cost.rate.usd_per_second * HOUR, "$/accelerator-hour")
    machine = (
        f", {words.count('accelerators', n, 'accelerator')} of them"
        f" {_dollars(words, 'rent_of_machine', cost.bill.usd, '$/h')}"
        if n > 1
        else ""
    )
    tokens = cost.bill.tokens
    taken = [words.number(f"{k}_an_hour", tokens[k] / MILLION, "million") for k in ("input", "output")]
    busy = f", {words.share('utilisation', cost.utilisation)} of it at work," if cost.utilisation < 0.995 else ""
    many = "they take" if n > 1 else "it takes"
    return (
        f"One {a} rents for {each} an hour{machine}. In an hour{busy} {many} in {taken[0]} input tokens and"
        f" {'give' if n > 1 else 'gives'} out {taken[1]} output tokens."
    )


def _interval(words: Words, name: str, found: Interval) -> str:
    """A price, and how far the predicted time may move it."""
    value = _dollars(words, name, found.value, "$ per million tokens")
    if format_money(found.low) == format_money(found.high):
        return value
    ends = [_dollars(words, f"{name}_{case}", getattr(found, case), "$ per million tokens") for case in ("low", "high")]
    return f"{value} ({ends[0]} to {ends[1]})"


def _split(words: Words, cost: Cost) -> str:
    idle = (
        f", and idle time {_dollars(words, 'idle', cost.bill.idle_usd, '$/h')} an hour"
        if cost.bill.idle_usd > 0
        else ""
    )
    both = [_interval(words, name, getattr(cost.per_million, name)) for name in ("input", "output")]
    brackets = " In brackets: how far the predicted time may be off." if "input_low" in words.figures else ""
    return (
        f"Every second of it is shared by the tokens that used it. That makes a million input tokens {both[0]}, a"
        f" million output tokens {both[1]}{idle}.{brackets}"
    )


def _twice(words: Words, cost: Cost) -> str:
    """What comes out when the whole hour is charged to each kind."""
    wrong = [
        _dollars(words, f"whole_hour_over_{k}", cost.bill.usd / cost.bill.tokens[k] * MILLION, "$ per million tokens")
        for k in ("input", "output")
    ]
    return (
        f"Dividing the whole hour by the input tokens alone would say {wrong[0]}, by the output tokens alone"
        f" {wrong[1]}: each division is right and each price wrong, as the two together charge the hour twice."
    )


def _band(words: Words, cost: Cost) -> str:
    assert cost.rate
    if not cost.rate.band:
        return ""
    each = cost.accelerator_s.output.value * MILLION
    band = dict(zip(("low", "high"), cost.rate.band, strict=True))
    rents = [_dollars(words, f"rent_{n}", b * HOUR, "$/accelerator-hour") for n, b in band.items()]
    output = [_dollars(words, f"output_at_{n}_rent", each * b, "$ per million tokens") for n, b in band.items()]
    return (
        f"Listed rents go from {rents[0]} to {rents[1]} an hour, and output with them from {output[0]} to {output[1]}."
    )


RATE_NAMES = {"rent": "rented", "own": "owned", "power": "electricity alone"}


def _rates(asked: Asked) -> tuple[Row, ...]:
    """What is known of renting, owning and electricity alone, side by side."""
    rows: list[Row] = [("", "$/accelerator-hour", "input $/M", "output $/M", "a request")]
    for name, rate in asked.rates.items():
        cost = at_rate(asked.cost, rate)
        assert cost.rate
        each = cost.per_million
        money = (cost.rate.usd_per_second * HOUR, each.input.value, each.output.value, cost.per_request.value)
        rows.append((RATE_NAMES[name], *(format_money(v) for v in money)))
    return tuple(rows) if len(rows) > 1 else ()


def powered(asked: Asked) -> Answer:
    """Question 7."""
    question, cost = "And from its power?", asked.cost
    command, deeper = asked.command("answers", "--question", "7"), asked.command("price", "--rate", "power:0.12")
    rate, meter, words = asked.rates.get("power"), cost.meter, Words(True)
    if rate is None or meter is None or cost.facility_joules is None:
        why = asked.missing.get("power", "no power is published for this accelerator; give --watts")
        text = f"Its power is not known: {words.quote(why)}."
        return Answer(7, question, text, words, (), command, deeper)
    text = sentence(
        _joules(words, cost), _electricity(words, at_rate(cost, rate), asked.electricity), *_shares(words, asked, rate)
    )
    return Answer(7, question, text, words, _energy(cost), command, _knob(asked, rate))


def _knob(asked: Asked, rate: Rate) -> str:
    """The price of the same case by electricity alone."""
    knobs = {k: v for k, v in asked.cost.scenario.items() if k != "rate"}
    plain = replace(asked, cost=replace(asked.cost, scenario=knobs))
    return plain.command("price", "--rate", f"power:{rate.usd_per_joule * JOULES_PER_KWH:.4g}")


def _joules(words: Words, cost: Cost) -> str:
    meter, each = cost.meter, cost.facility_joules
    assert meter and each
    drawn = words.number("watts", meter.watts, "W")
    around = words.times("facility_factor", cost.site.factor)
    input_j, output_j = (words.number(f"{k}_joules", getattr(each, k).value, "J") for k in ("input", "output"))
    return (
        f"An accelerator draws {drawn} while it works here, and host and cooling make that {around} times as much at"
        f" the meter. An input token takes {input_j}, an output token {output_j}."
    )


def _electricity(words: Words, cost: Cost, source: str) -> str:
    assert cost.rate
    price = _dollars(words, "electricity", cost.rate.usd_per_joule * JOULES_PER_KWH, "$/kWh")
    each = cost.per_million
    both = [_dollars(words, k, getattr(each, k).value, "$ per million tokens") for k in ("input", "output")]
    return (
        f"At {price} a kWh ({words.quote(source)}) that is {both[0]} a million input tokens and {both[1]} a million"
        " output tokens."
    )


def _shares(words: Words, asked: Asked, power: Rate) -> tuple[str, ...]:
    """Electricity as a share of ownership and of rent."""
    alone = at_rate(asked.cost, power).per_request.value
    clauses = []
    for name, what in (("own", "what owning the machine costs"), ("rent", "its rent")):
        if rate := asked.rates.get(name):
            part = alone / at_rate(asked.cost, rate).per_request.value
            clauses.append((part, f"{words.share(f'share_of_{name}', part)} of {what}"))
    missing = (
        "What owning this accelerator costs is not in the table; --rate own:PRICE gives it."
        if "own" not in asked.rates
        else ""
    )
    if not clauses:
        return (missing,)
    small = "the small part" if max(part for part, _ in clauses) < 0.25 else "no small part"
    said = (
        f"Electricity is {small}: {' and '.join(text for _, text in clauses)}. A price from power alone leaves out"
        " the machine."
    )
    return (said, missing)


def _energy(cost: Cost) -> tuple[Row, ...]:
    """Joules at the accelerators and at the meter."""
    rows: list[Row] = [("joules a token", "input", "output", "90% interval of output")]
    for name, found in (("accelerators", cost.joules), ("facility's meter", cost.facility_joules)):
        if found:
            o = found.output
            rows.append((name, f"{found.input.value:.3g}", f"{o.value:.3g}", f"{o.low:.3g} to {o.high:.3g}"))
    return tuple(rows)
