"""Makes the tasks known to Gymnasium by their ids, as soon as both packages are imported.

Gymnasium 1.0 dropped the entry points by which a package could announce its environments, and
importing Gymnasium takes longer than all the rest of this package. So it is not imported here:
whichever of the two comes second triggers the registration.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

ENTRY_POINT = "simulator.gym_factory:make_gym_env"
VECTOR_ENTRY_POINT = "simulator.gym_factory:make_vector_env"
TRACE_ENTRY_POINT = "simulator.gym_factory:make_trace_env"
VECTOR_TRACE_ENTRY_POINT = "simulator.gym_factory:make_vector_trace_env"
_GYMNASIUM = "gymnasium"


def register_tasks() -> None:
    """Register every shipped task and variant, and traces, as far as not known to Gymnasium yet."""
    import gymnasium

    from llmserve_env.tasks import shipped_catalogue
    from llmserve_env.traces import GYMNASIUM_ID

    for task in shipped_catalogue().playable:
        if task.gymnasium_id not in gymnasium.registry:
            gymnasium.register(
                task.gymnasium_id,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                kwargs={"task_id": task.task_id},
            )
    if GYMNASIUM_ID not in gymnasium.registry:
        gymnasium.register(
            GYMNASIUM_ID,
            entry_point=TRACE_ENTRY_POINT,
            vector_entry_point=VECTOR_TRACE_ENTRY_POINT,
        )


def register_when_imported() -> None:
    """Register the tasks now if Gymnasium is imported already, else right after it is."""
    if _GYMNASIUM in sys.modules:
        register_tasks()
    else:
        sys.meta_path.insert(0, _GymnasiumFinder())


class _GymnasiumFinder(MetaPathFinder):
    """Finds Gymnasium as Python does, and has its loader register the tasks at the end."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname != _GYMNASIUM:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            register_tasks()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
