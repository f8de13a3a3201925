"""What a simulation takes beyond knobs: one table for flags, scenario files and cases of a sweep."""

from __future__ import annotations

from collections.abc import Mapping

from pertoken.knobs import Knob

ROUTES = ("round-robin", "least-loaded", "prefix-aware")

# knobs that a run finds out itself, or has no form for
REFUSED = ("cached", "prefix_cache", "basis", "utilisation", "currency")
OPTIONS: Mapping[str, Knob] = {
    k.name: k
    for k in (
        Knob("requests", "whole", "Requests to draw (default: 20,000), or the first so many of a trace.", "run", "", 1, 1e8),
        Knob("seed", "whole", "Of all that is drawn; the same gives the same bytes (default: 0).", "run", "", 0, 2.0**53),
        Knob("burst", "number", "Coefficient of variation of gaps (default: 1, Poisson).", "run", "", 0, 100),
        Knob("profile", "text", "24 hourly weights with commas, by which the rate follows the day.", "run"),
        Knob("policy", "text", "Python file with order, admit or victim, who is served next; it is run.", "run"),
        Knob("turns", "number", "Mean turns of conversations, each with the history (default: 1).", "run", "", 1, 1000),
        Knob("think", "seconds", "From an answer to the next turn or request (default: 0).", "run", "s", 0, 1e6),
        Knob(
            "replicas", "text", "Copies of the deployment, or P:D for pools that only prefill and only decode, such as 4:2"
            " (default: 1).", "cluster",
        ),
        Knob("route", "choice", "Which replica serves a request (default: round-robin).", "cluster", choices=ROUTES),
        Knob(
            "reuse_prefixes", "choice", "Keep blocks of prompts, oldest out first (hash_ids, --turns).", "cluster",
            choices=("no", "yes"),
        ),
        Knob(
            "speculative", "number", "Tokens that a step emits on average by speculative decoding (default: 1, none).",
            "cluster", "token", 1, 16,
        ),
        Knob("priorities", "whole", "Levels of a trace's priority column, 0 first (default: 1).", "cluster", "", 1, 16),
        Knob("block", "whole", "Tokens of a KV block (default: 16).", "cluster", "token", 1, 4096),
        Knob("crowd", "whole", "Start a replica above so many requests each (default: 0, all run).", "cluster", "", 0, 1e6),
        Knob("start", "seconds", "Time that a replica takes to start (default: 60).", "cluster", "s", 0, 1e6),
        Knob("patience", "seconds", "Idle time before it is stopped (default: 300).", "cluster", "s", 0, 1e6),
        Knob("least", "whole", "Replicas that always run, with --crowd (default: 1).", "cluster", "", 1, 4096),
    )
}  # fmt: skip
