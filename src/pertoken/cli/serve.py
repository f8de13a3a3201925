"""``pertoken serve``: the page on this machine."""

from __future__ import annotations

import click

from pertoken.errors import PertokenError


@click.command(short_help="Open the page: move a slider, see the price, see why.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--name", "names", multiple=True, help="Name of this machine by which others ask for it, with --host.")
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser.")
def serve(host: str, port: int, names: tuple[str, ...], opened: bool) -> None:
    """Serve the page, with its API under /api, until Ctrl-C.

    It listens on this machine alone unless --host says otherwise, and asks nothing of any other machine.

    \b
    pertoken serve --open
    pertoken serve --port 9000
    """
    try:
        from pertoken.web.serve import run
    except ImportError as error:
        raise PertokenError(
            f"the page needs {error.name}, which is not installed; install it with: pip install 'pertoken[page]'"
        ) from error
    run(host, port, names, opened, lambda text: click.echo(text, err=True))
