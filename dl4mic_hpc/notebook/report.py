"""What a conversion did, and what the notebook needs that a compute node may not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from dl4mic_hpc.notebook.dl4mic_forms.forms import Value

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that was done: `kind` is section, install, reference, table, form, title, text or note.

    Cells count from 1 as they were in the original, here and everywhere in a report; so do lines.
    """

    kind: str
    cell: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field that a person can fill in, on `line` of `cell`; `default` is None for an expression.

    `minimum`, `maximum` and `step` are those of a slider, None for every other kind.
    """

    cell: int
    line: int
    name: str
    kind: str
    default: Value
    options: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSection:
    """A section that was cut out, with its `cells` cells from `cell` on."""

    number: str
    title: str
    cell: int
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a dropped install named, as written: "wget==3.2", "-r requirements.txt", "." for the folder it was in."""

    cell: int
    line: int
    requirement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A call that needs the internet: `kind` is clone, download, table or weights; `address` "" if it is computed."""

    cell: int
    line: int
    kind: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A repository that a shell line clones: `branch` may be a tag, or "", and `folder` is what the line makes.

    `removed` tells that the line went with a removed section; what it fetched may be needed all the same.
    """

    cell: int
    repository: str
    branch: str
    folder: str
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A line that names /content, one of Colab's own modules and folders, or, in a text, Colab itself (`what`)."""

    cell: int
    line: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something that a person should know or look at."""

    cell: int
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference to a removed section that was marked; `section` is its number, or the link or entry that led there."""

    cell: int
    line: int
    section: str


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Where the steps of a conversion write down what they did, in the order in which they did it."""

    changes: list[Change] = field(default_factory=list)
    requirements: list[Requirement] = field(default_factory=list)
    clones: list[Clone] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    not_understood: list[Remark] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)

    def changed(self, kind: str, cell: int, text: str) -> None:
        self.changes.append(Change(kind=kind, cell=cell, text=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything in the order of the notebook. `fields` by the form's id."""

    notebook: str
    changes: tuple[Change, ...] = ()
    fields: Mapping[str, tuple[FormField, ...]] = field(default_factory=lambda: MappingProxyType({}))
    removed: tuple[RemovedSection, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    network: tuple[Network, ...] = ()
    clones: tuple[Clone, ...] = ()
    content_uses: tuple[Use, ...] = ()
    colab_uses: tuple[Use, ...] = ()
    colab_texts: tuple[Use, ...] = ()
    references: tuple[Reference, ...] = ()
    not_understood: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The shape that docs/reference/json.md describes."""
        lists = (
            "changes",
            "removed",
            "requirements",
            "network",
            "clones",
            "content_uses",
            "colab_uses",
            "colab_texts",
            "references",
        )
        fields = [{"form": form, **asdict(one)} for form, ones in self.fields.items() for one in ones]
        return {
            "version": VERSION,
            "notebook": self.notebook,
            "fields": fields,
            **{name: [asdict(each) for each in getattr(self, name)] for name in lists},
            "not_understood": [asdict(each) for each in self.not_understood],
            "warnings": [asdict(each) for each in self.warnings],
        }

    def as_text(self) -> str:
        """For people: counts first, then what asks for attention, each with its cell and line."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        count = sum(len(fields) for fields in self.fields.values())
        yield f"{self.notebook}: {_count(count, 'form field')} in {_count(len(self.fields), 'cell')}"
        for each in self.removed:
            held = range(each.cell, each.cell + each.cells)
            place = f"cells {held[0]} to {held[-1]}" if each.cells > 1 else f"cell {each.cell}"
            yield f"removed: section {each.number} '{each.title}' ({place})"
        if self.requirements:
            yield f"installs left out: {', '.join(each.requirement for each in self.requirements)}"
        if self.references:
            yield f"references to removed sections marked: {len(self.references)}"
        if self.colab_uses:
            yield f"Colab's own modules, served by a stand-in: {_cells(self.colab_uses)}"
        if self.content_uses:
            yield f"/content, which is the session's working folder: {_cells(self.content_uses)}"
        if self.colab_texts:
            yield f"texts that speak of Colab or Google Drive: {_cells(self.colab_texts)}"
        for call in self.network:
            yield f"needs the internet: cell {call.cell}, line {call.line}: {call.kind} {call.address}".rstrip()
        for remark in self.not_understood:
            yield f"not understood: cell {remark.cell}, line {remark.line}: {remark.text}"
        for remark in self.warnings:
            yield f"look at: cell {remark.cell}, line {remark.line}: {remark.text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cells(uses: tuple[Use, ...]) -> str:
    numbers = sorted({use.cell for use in uses})
    return f"{'cell' if len(numbers) == 1 else 'cells'} {', '.join(map(str, numbers))}"
