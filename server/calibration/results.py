"""Folders of measurements -> a fitted profile, and any profile held against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.result_files import write_json
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from server.calibration.journal import DRIFT, Progress, read_progress
from server.real_clock import MOST_STARVED_FRACTION
from simulator.calibration.closed_loop import ClosedLoop, Constants
from simulator.calibration.comparing import Gate, Row, compare, gates, held_out, verdict
from simulator.calibration.fitting import Fitter
from simulator.calibration.measured import MeasuredLoad, measured_load
from simulator.calibration.profile import Origin, profile_file
from simulator.calibration.records import Plan
from simulator.hardware import load_profile, profile_names
from simulator.hardware_records import Profile
from simulator.profile_files import ProfileFile, profile_path, read_profile_file

FITTED_FILE: Final = "fitted.json"  # in a folder: which profile was fitted to it last


class _Fitted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str


@dataclass(frozen=True, slots=True)
class Source:
    """A folder: what was planned and what counts of it."""

    folder: Path
    plan: Plan
    visits: tuple[MeasuredLoad, ...]
    notes: tuple[str, ...]
    date: str


@dataclass(frozen=True, slots=True)
class Results:
    """A profile beside what was measured.

    Attributes:
        profile: The one that is held against it.
        file: Its file; None of a shipped one.
        sources: The folders.
        rows: Every visit that counts, simulated on the profile.
        base_rows: The same on the shipped profile on which it is based; none for a shipped one.
    """

    profile: Profile
    file: ProfileFile | None
    sources: tuple[Source, ...]
    rows: tuple[Row, ...]
    base_rows: tuple[Row, ...]

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What is allowed and what was reached on held-out visits."""
        return gates(self.rows)

    @property
    def is_passed(self) -> bool:
        """Whether all gates are met."""
        return all(gate.is_met for gate in self.gates)

    @property
    def verdict(self) -> str:
        """That in a line."""
        return verdict(self.gates, visits=len(held_out(self.rows)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing of the measurements."""
        return tuple(note for source in self.sources for note in source.notes)


def read_sources(folders: Sequence[Path]) -> tuple[Source, ...]:
    """What was measured in these folders.

    Raises:
        InvalidInputError: If one holds no measurements, or something else.
    """
    return tuple(_read_source(number, folder) for number, folder in enumerate(folders))


def fit_profile(sources: Sequence[Source], base: str, name: str) -> ProfileFile:
    """The file of a profile fitted to the sources; nothing is written.

    Raises:
        InvalidInputError: If there are too few loads.
        TierNotOfferedError: If the base does not offer a tier that was measured.
    """
    loops = _loops(sources, base)
    visits = [visit for source in sources for visit in source.visits]
    try:
        fitter = Fitter(loops, [visit for visit in visits if visit.role == "fit"])
    except InvalidInputError as error:
        notes = [note for source in sources for note in source.notes]
        raise InvalidInputError("; ".join([str(error), *notes])) from error
    fit = fitter.fit()
    rows = compare(visits, lambda visit: (loops[visit.source], fit.constants(visit.tier)))
    origin = Origin(
        base=base,
        server=", ".join(dict.fromkeys(source.plan.server for source in sources)),
        model=", ".join(dict.fromkeys(source.plan.model for source in sources)),
        date=max(source.date for source in sources),
        environment_version=shipped_catalogue().environment_version,
    )
    return profile_file(name, fit, rows, origin)


def keep_profile(folders: Sequence[Path], name: str, file: ProfileFile) -> Path:
    """Write a fitted profile among the user's own, and its name into the folders; its path."""
    path = profile_path(name)
    write_json(path, file.model_dump(mode="json", exclude_none=True))
    for folder in folders:
        write_json(folder / FITTED_FILE, _Fitted(profile=name).model_dump())
    return path


def results_of(sources: Sequence[Source], name: str) -> Results:
    """A profile, as everything else finds it by name, beside the measurements.

    Raises:
        InvalidInputError: If there is no such profile.
        TierNotOfferedError: If it does not offer a tier that was measured.
    """
    profile = load_profile(name)
    file = None if name in profile_names() else read_profile_file(name)
    visits = [visit for source in sources for visit in source.visits]
    rows = _simulated(sources, visits, name)
    base_rows = _simulated(sources, visits, profile.based_on) if profile.based_on else ()
    return Results(profile, file, tuple(sources), rows, base_rows)


def fitted_profile_of(folder: Path) -> str:
    """The profile that was last fitted to a folder.

    Raises:
        InvalidInputError: If none was, saying how to.
    """
    path = folder / FITTED_FILE
    try:
        return _Fitted.model_validate_json(path.read_bytes()).profile
    except FileNotFoundError:
        raise InvalidInputError(
            f"no profile was fitted to {folder}: llmserve calibrate fit {folder} --name NAME, or "
            "name one with --profile"
        ) from None
    except ValidationError as error:
        raise InvalidInputError(f"{path}: {error.errors()[0]['msg']}") from error


def _simulated(
    sources: Sequence[Source], visits: Sequence[MeasuredLoad], profile: str
) -> tuple[Row, ...]:
    loops = _loops(sources, profile)

    def played(visit: MeasuredLoad) -> tuple[ClosedLoop, Constants]:
        loop = loops[visit.source]
        return loop, loop.own_constants

    return compare(visits, played)


def _loops(sources: Sequence[Source], profile: str) -> list[ClosedLoop]:
    return [ClosedLoop(profile, source.plan.tier, source.plan.limits) for source in sources]


def _read_source(number: int, folder: Path) -> Source:
    progress = read_progress(folder)
    plan, usable = progress.plan, progress.counted()
    if not usable:
        raise InvalidInputError(f"{folder} holds no complete visit that counts")
    return Source(
        folder=folder,
        plan=plan,
        visits=tuple(measured_load(number, plan.tier, v.visit, v.answers) for v in usable.values()),
        notes=tuple(f"{folder}: {note}" for note in notes_of(progress)),
        date=progress.last_at[:10],
    )


def notes_of(progress: Progress) -> list[str]:
    """What is missing of the measurements in a folder."""
    planned, complete = len(progress.plan.visits), progress.complete
    starved = sum(d.ended.starved_fraction > MOST_STARVED_FRACTION for d in complete.values())
    drifted = len(complete) - len(progress.counted()) - starved
    notes = []
    if len(complete) < planned:
        notes.append(f"{len(complete)} of {planned} visits are measured")
    if starved:
        notes.append(
            f"{starved} visits do not count: the client was starved of CPU in over "
            f"{MOST_STARVED_FRACTION:.0%} of their seconds"
        )
    if drifted:
        notes.append(
            f"{drifted} visits do not count: a request alone on the server, right before or after "
            f"them, took over {DRIFT:.0%} more or less time a token than usual"
        )
    if progress.failures:
        kinds = ", ".join(sorted(set(progress.failures)))
        notes.append(f"{len(progress.failures)} attempts failed ({kinds}) and were repeated")
    return notes
