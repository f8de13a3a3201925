"""A file of single requests that is written while a run goes on, to a temporary name until it is whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError
from pertoken.report.simulation_files import arrow, lines_of, rows_of

FORMS = (".csv", ".jsonl", ".parquet")


class Requests:
    """Requests in order of arrival, as one of ``FORMS``.

    Parameters
    ----------
    path : Path
        Where the file will be.

    Raises
    ------
    PertokenError
        When the place cannot be written, now or later; nothing is left behind then.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.form, self.begun = path, path.suffix.lower(), False
        self.writer: Any = None
        if self.form == ".parquet":
            arrow()
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        except OSError as error:
            raise self._sentence(error) from error
        self.temporary: Path | None = Path(name)
        self.file: Any = os.fdopen(handle, "wb")

    def _sentence(self, error: OSError) -> PertokenError:
        return PertokenError(
            f"{str(self.path)[-120:]!r} cannot be written: {error.strerror or error}; give another place"
        )

    def add(self, columns: Mapping[str, Any]) -> None:
        """Write more requests; of Parquet a row group."""
        try:
            if self.form == ".parquet":
                self._group(columns)
            elif self.form == ".jsonl":
                self.file.write(lines_of(columns).encode())
            else:
                names = "" if self.begun else ",".join(columns) + "\n"
                self.file.write((names + rows_of(columns)).encode())
        except OSError as error:
            raise self._sentence(error) from error
        self.begun = True

    def _group(self, columns: Mapping[str, Any]) -> None:
        pyarrow, parquet = arrow()
        table = pyarrow.table(dict(columns))
        if self.writer is None:
            self.writer = parquet.ParquetWriter(self.file, table.schema)
        self.writer.write_table(table)

    def close(self, partial: bool, origin: str) -> None:
        """The file is whole: give it its name. Parquet says whether the run was ended early."""
        assert self.temporary is not None
        try:
            if self.writer:
                self.writer.add_key_value_metadata({"partial": str(partial).lower(), "traffic": origin})
                self.writer.close()
            self.file.close()
            self.temporary.chmod(0o644)
            self.temporary.replace(self.path)
        except OSError as error:
            raise self._sentence(error) from error
        self.temporary = None

    def drop(self) -> None:
        """Leave nothing behind, unless the file is whole."""
        if self.temporary is None:
            return
        self.writer = None
        with contextlib.suppress(OSError):  # a disk that is full is told of already
            self.file.close()
        self.temporary.unlink(missing_ok=True)
