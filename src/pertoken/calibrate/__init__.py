"""Fit kernel efficiencies to measured operators (development only: needs pyarrow and scipy).

``python -m pertoken.calibrate WHEEL_OR_FOLDER... --out DIR`` rewrites the efficiency files of the catalog.
"""
