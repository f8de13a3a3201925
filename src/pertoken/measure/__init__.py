"""Holds predictions against real engines: readers of load generators, a probe, a fit, live counters, energy, this machine."""
