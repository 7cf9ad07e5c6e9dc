"""`image`: the images on a cluster, pulled or built before anybody waits for them, looked after, and cleared away."""

from __future__ import annotations

import typer

from dl4mic_hpc.cli import image_make, image_publish, image_shelf

app = typer.Typer(
    help="Pull, build, check and clear away the images on a cluster.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
image_make.register(app)
image_publish.register(app)
image_shelf.register(app)
