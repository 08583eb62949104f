"""The settings that a data root remembers: without a name these are used, but for what fits the machine.

What is read from a data root is data. A model in a folder is not loaded because a data root names it: only a profile
that the user of this machine names may do that.

Why so: "The data root remembers its settings" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.choose import Choice, choose_profile
from quarry_dagster.profiles.settings import NOT_ON_GPU, Classifier, HardwareProfile, Settings
from quarry_dagster.store import Store

T = TypeVar("T")


def choose_for(store: Store, name_or_path: str | None) -> Choice:
    """The profile of that name or path; without one, what the data root remembers, else what fits the hardware found.

    Raises:
        ConfigError: as :func:`choose_profile`; or what is remembered can be used only where a profile is named.
        StoreError: what is remembered is damaged.
    """
    remembered = None if name_or_path else store.root().settings
    if not remembered:
        return choose_profile(name_or_path)
    here = choose_profile(None)
    named = "name the profile that it was made with (--profile or QUARRY_PROFILE)"
    try:
        profile = HardwareProfile.model_validate(_with_machine(remembered, here.profile))
    except ValidationError as e:
        problems = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in e.errors())
        raise ConfigError(
            f"{store.files.root} remembers settings that cannot be used here ({problems}): {named}"
        ) from e
    if profile.embedding.model != HardwareProfile.model_fields["embedding"].default.model and _is_path(profile):
        raise ConfigError(
            f"{store.files.root} was made with the model in the folder {profile.embedding.model}, and nothing is "
            f"loaded because a data root names it: {named}"
        )
    return Choice(profile, f"remembered by the data root; workers and memory as {here.profile.name} has them")


def named_processors(store: Store, name_or_path: str | None, profile: HardwareProfile) -> Mapping[str, str]:
    """The domain processors of a profile that are somebody's own, by their import strings.

    Raises:
        ConfigError: the data root alone names them, and no profile of this machine's user.
    """
    return _named_here(store, name_or_path, "page_metadata.processors", profile.page_metadata.processors)


def named_classifiers(store: Store, name_or_path: str | None, profile: HardwareProfile) -> Mapping[str, Classifier]:
    """The models whose scores are signals, by the names of these.

    Raises:
        ConfigError: the data root alone names them, and no profile of this machine's user.
    """
    return _named_here(store, name_or_path, "quality.classifiers", profile.quality.classifiers)


def _named_here(store: Store, name_or_path: str | None, setting: str, own: Mapping[str, T]) -> Mapping[str, T]:
    """What a setting names of somebody's own, where a profile of this machine's user does.

    Raises:
        ConfigError: the data root alone names it.
    """
    if own and not name_or_path and store.root().settings:
        raise ConfigError(
            f"{store.files.root} was made with {setting} of somebody's own, and no code and no model is loaded because "
            "a data root names it: name the profile that it was made with (--profile or QUARRY_PROFILE)"
        )
    return own


def settings_of(store: Store, name_or_path: str | None) -> HardwareProfile:
    """The settings that the rows of a data root are made with; those of a name where the root remembers none.

    Raises:
        ConfigError, StoreError: as :func:`choose_for`.
    """
    return choose_for(store, None if store.root().settings else name_or_path).profile


def has_own_bounds(store: Store, profile: HardwareProfile) -> bool:
    """Whether a profile has the bounds of checks that the data root remembers, or it remembers none."""
    remembered = store.root().settings
    return not remembered or remembered.get("checks") == to_remember(profile)["checks"]


def to_remember(profile: HardwareProfile) -> dict[str, Any]:
    """The settings that a data root keeps, as JSON values.

    Those that rows depend on are all there; of the others those that are not as this version has them by default, but
    none that fits the machine.
    """
    values: dict[str, Any] = {"name": profile.name, "description": profile.description}
    for name, settings in _sections(profile).items():
        rows = settings.model_dump(mode="json", include=set(settings.ROWS_DEPEND_ON))
        others = settings.model_dump(mode="json", exclude_defaults=True, exclude=set(settings.FIT_THE_MACHINE))
        values[name] = others | rows
    return values


def made_with(profile: HardwareProfile) -> dict[str, str]:
    """A digest of each section's settings that rows depend on, by section.

    Settings as they are by default are left out, so that a new setting changes no digest.
    """
    sections = {name: settings for name, settings in _sections(profile).items() if settings.ROWS_DEPEND_ON}
    dumped = {
        name: settings.model_dump_json(include=set(settings.ROWS_DEPEND_ON), exclude_defaults=True)
        for name, settings in sections.items()
    }
    return {name: digest(values.encode())[:12] for name, values in dumped.items()}


def _with_machine(remembered: Mapping[str, Any], here: HardwareProfile) -> dict[str, Any]:
    """The remembered settings, and those of the profile `here` that fit the machine."""
    values = dict(remembered)
    for name, settings in _sections(here).items():
        fit = settings.model_dump(mode="json", include=set(settings.FIT_THE_MACHINE))
        values[name] = {**values.get(name, {}), **fit}
    index = values["index"]
    if (index["large_type"] if index["type"] == "auto" else index["type"]) in NOT_ON_GPU:
        index["use_gpu_faiss"] = False  # the remembered type stays
    return values


def _sections(profile: HardwareProfile) -> dict[str, Settings]:
    return {name: value for name, value in profile if isinstance(value, Settings)}


def _is_path(profile: HardwareProfile) -> bool:
    model = profile.embedding.model
    return model.startswith((".", "/", "~")) or Path(model).is_dir()
