"""Counterfactuals: small named things that turn one case into another, and what that changes."""
