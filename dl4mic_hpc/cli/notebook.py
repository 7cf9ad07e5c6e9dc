"""`notebook`: the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from dl4mic_hpc.cli import choose, console

app = typer.Typer(help="The notebooks on offer.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]


@app.command("list", epilog="Example: dl4mic-hpc notebook list")
def list_(as_json: JsonOption = False) -> None:
    """List the notebooks of the catalogue."""
    from dl4mic_hpc import catalog

    specs = [catalog.load(name) for name in catalog.names()]
    if as_json:
        rows = [{"id": spec.id, "version": spec.version, "description": spec.description} for spec in specs]
        console.answer_json({"version": 1, "notebooks": rows})
        return
    console.table(
        ("NOTEBOOK", "VERSION", "DESCRIPTION"), [(spec.id, spec.version, spec.description) for spec in specs]
    )


@app.command(epilog="Example: dl4mic-hpc notebook show pixel_segmentation")
def show(
    name: Annotated[str, typer.Argument(help="A notebook of the catalogue.")], as_json: JsonOption = False
) -> None:
    """Show what a notebook is, what its image is built from, and the form fields it has."""
    from dl4mic_hpc import notebook as converter

    spec = choose.notebook(name, None)
    converted = converter.convert(
        spec.read_notebook(),
        name=spec.notebook_file,
        sections_to_remove=spec.sections_to_remove,
        provenance={},
    )
    if as_json:
        fields = [
            {"form": form, "name": one.name, "kind": one.kind, "default": one.default}
            for form, ones in converted.fields.items()
            for one in ones
        ]
        console.answer_json({
            "version": 1, "id": spec.id, "notebook": spec.notebook_file, "notebook_version": spec.version,
            "description": spec.description, "build_args": dict(spec.build_args()), "fields": fields,
        })  # fmt: skip
        return
    console.answer(f"{spec.id} {spec.version}: {spec.description}")
    console.answer(f"notebook  {spec.notebook_file}")
    for key, value in spec.build_args().items():
        console.answer(f"  {key} = {value}")
    console.table(
        ("FORM", "FIELD", "KIND", "DEFAULT"),
        [
            (form, one.name, one.kind, str(one.default))
            for form, ones in converted.fields.items()
            for one in ones
        ],
    )
