"""What ``--recipe FILE`` takes: TOML whose keys are recipe fields, or the ``config.json`` of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from bss import samplers
from bss.compare.arms import Arm, bearing, draws_own, find, partly_reaching, settable
from bss.methods import Method, settings_of_run
from bss.recipes.fields import flatten, known_field
from bss.recipes.files import applied, read_toml
from bss.recipes.recipe import KINDS, Recipe, written
from bss.tasks import task_file, task_name
from bss.training.build import method_of
from bss.training.run_folder import read_json
from bss.utils.errors import RecipeError, RunFolderError, shown

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class RecipeFile:
    """The fields of a recipe as a file has them.

    Attributes:
        path: of the file.
        content: field -> value, nested parts in tables.
        config: what else the ``config.json`` says that it is; None = a TOML file.
    """

    path: Path
    content: Mapping[str, Any]
    config: Mapping[str, Any] | None = None

    def applied(self, recipe: R) -> R:
        """The recipe with the file's fields.

        Raises:
            RecipeError: the recipe does not admit one of them; or the run did something that is in no recipe.
        """
        if (sampler := self.sampler) is not None and sampler not in _samplers_of(recipe):
            raise RecipeError(
                f"{self.path} is of a run with the sampler {sampler}, and this recipe's are "
                f"{', '.join(_samplers_of(recipe))}: python -m bss train TASK --recipe FILE trains any"
            )
        content = dict(self.content)
        if sampler is not None:  # in format 1 the class alone says it
            content["schedule"] = {**content["schedule"], "sampler": sampler}
        made = applied(recipe, content, self.path)
        if self.config is not None:
            self._check_method(made)
        return made

    @property
    def sampler(self) -> str | None:
        """Which sampler made the run's orders, by the name that a schedule gives it; None where the file is of no run.

        Raises:
            RecipeError: it is of a class that no recipe names.
        """
        if self.config is None:
            return None
        kind = self.config.get("sampler")
        names = {cls.__name__: name for name, cls in samplers.BY_NAME.items()}
        schedule = self.content.get("schedule")
        named = schedule.get("sampler", names.get(str(kind))) if isinstance(schedule, Mapping) else None
        if not isinstance(named, str) or named not in samplers.BY_NAME or samplers.BY_NAME[named].__name__ != kind:
            raise RecipeError(
                f"{self.path} is of a run with the sampler {shown(kind)}, which no recipe names: pass it to bss.fit"
            )
        return named

    def _of_its_kind(self, recipe: Recipe) -> Recipe:
        """The recipe with the kind of schedule that the run's sampler has."""
        sampler = self.sampler
        if sampler is None or sampler in _samplers_of(recipe):
            return recipe
        kind = KINDS[sampler]
        kept = {each.name: getattr(recipe.schedule, each.name) for each in fields(recipe.schedule)}
        kept = {each.name: kept[each.name] for each in fields(kind) if each.name in kept}
        return replace(recipe, schedule=kind(**kept | {"sampler": sampler}))

    def _check_method(self, recipe: Recipe) -> None:
        """See that the recipe makes the method that the run had."""
        assert self.config is not None
        try:
            method = method_of(recipe, int(self.config["samples"]["train"]))
            settings = json.loads(json.dumps(method.settings()))  # with the types that a file has
            ours = None if type(method) is Method else type(method).__name__, settings
            name = self.config.get("method")
            there = name, settings_of_run(name, self.config.get("method_settings", {}))
        except (KeyError, TypeError) as error:
            raise RecipeError(f"{self.path} is no run's config.json: its samples or method are odd") from error
        if ours != there:
            raise RecipeError(
                f"{self.path} is of a run with the method {there[0]} {shown(there[1])}, and its recipe makes {ours[0]} "
                f"{shown(ours[1])}: pass the method to bss.fit"
            )

    def arm(self, named: Arm | None) -> Arm:
        """The arm to train: the one that a flag names, or that the run was.

        Raises:
            RecipeError: there is none, or they are two.
        """
        there = self.config.get("arm") if self.config is not None else None
        if named is None and there is None:
            raise RecipeError(f"pass --arm ARM: {self.path} does not say which arm it is the recipe of")
        if named is not None and there not in (None, named.name):
            raise RecipeError(f"{self.path} is of a run of the arm {there}, and --arm says {named.name}: leave one out")
        return named or find([str(there)])[0]

    def for_arm(self, recipe: Recipe, arm: Arm) -> Recipe:
        """The recipe with the file's fields, for an arm to adapt.

        Args:
            recipe: the task's curriculum recipe.
            arm: what is trained.

        Raises:
            RecipeError: the arm would change one of them (named): they are not of this arm.
        """
        if self.config is None:
            made = self._of_base(recipe).applied(recipe)
            partly_reaching([arm], self.assignments(recipe), made, source=f"{self.path}: ")
            return made
        made = self.applied(self._of_its_kind(recipe))
        before, after = flatten(made), flatten(arm.recipe(made))
        changed = [name for name in before if name not in after or before[name] != after[name]]
        if changed:
            name = changed[0]
            raise RecipeError(
                f"{self.path} is not of the arm {arm.name}, which has {name}={written(after.get(name))}, and not "
                f"{written(before[name])}: take the arm or the script that it was trained by"
            )
        return made

    def check_epochs(self, recipe: Recipe) -> None:
        """Refuse a number of epochs that a flag gives, and that a number of updates of the file makes idle.

        Args:
            recipe: what is trained.

        Raises:
            RecipeError: says how to have epochs count.
        """
        if self.content.get("updates") not in (None, "none") and recipe.updates is not None:
            raise RecipeError(
                f"{self.path} has updates={recipe.updates}, which end a run whatever --epochs says: leave --epochs out "
                "or add --set updates=none"
            )

    def for_comparison(self, recipe: Recipe) -> list[str]:
        """``field=value`` for every field in which the file differs from the recipe that all arms are made from.

        The seed of a run is left out: ``--seeds`` has them.

        Args:
            recipe: the task's curriculum recipe.

        Raises:
            RecipeError: fields that are not for a comparison, or a run of another arm than CL.
        """
        if self.config is None:
            for name, way in (("seed", "--seeds"), ("overwrite", "another --out")):
                if name in self.content:
                    raise RecipeError(f"{self.path}: {name} is not for a comparison: use {way}")
        elif self.config.get("arm") not in (None, "cl") or self.sampler != recipe.schedule.sampler:
            what = f"of the arm {self.config['arm']}" if self.config.get("arm") else f"with the sampler {self.sampler}"
            raise RecipeError(
                f"{self.path} is of a run {what}, and a comparison makes its arms of CL's recipe: pass the config.json "
                "of a CL run, or a TOML file"
            )
        return [each for each in self.assignments(recipe) if not each.startswith("seed=")]

    def assignments(self, recipe: Recipe) -> list[str]:
        """``field=value`` for every field in which the file differs from a recipe."""
        before, after = flatten(recipe), flatten(self._of_base(recipe).applied(recipe))
        differing = [
            f"{name}={written(value)}" for name, value in after.items() if name not in before or value != before[name]
        ]
        return [*differing, *self.of_draws(recipe)]

    def of_draws(self, recipe: Recipe) -> list[str]:
        """``field=value`` for the fields of :data:`bss.compare.arms.OF_DRAWS` that a TOML file has and the recipe not.

        Raises:
            RecipeError: a value that a field does not admit.
        """
        _, found = self._split(recipe)
        for name, value in found.items():
            applied(bearing(recipe, name), {name: value}, self.path)
        return [f"{name}={written(value)}" for name, value in found.items()]

    def _of_base(self, recipe: Recipe) -> "RecipeFile":
        """The file without what :meth:`of_draws` is about."""
        return replace(self, content=self._split(recipe)[0])

    def _split(self, recipe: Recipe) -> tuple[Mapping[str, Any], dict[str, Any]]:
        if self.config is not None:
            return self.content, {}
        own, known = draws_own(recipe), settable(recipe)
        found: dict[str, Any] = {}

        def path_of(name: str) -> str:
            try:
                return known_field(name, known)
            except RecipeError as error:
                raise RecipeError(f"{self.path}: {error}") from error

        def rest(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
            left = {}
            for key, value in content.items():
                if isinstance(value, Mapping):
                    left[key] = rest(value, f"{prefix}{key}.")
                elif (path := path_of(prefix + key)) not in own:
                    left[key] = value
                elif path in found:
                    raise RecipeError(f"{self.path}: {path} is given twice")
                else:
                    found[path] = value
            return left

        return rest(self.content), found


def _samplers_of(recipe: Recipe) -> tuple[str, ...]:
    return get_args(get_type_hints(type(recipe.schedule))["sampler"])


def read(path: Path, task: str) -> RecipeFile:
    """Read what ``--recipe`` names: a TOML file, a run's ``config.json``, or the run's folder.

    Of a run everything is taken but ``overwrite``, which is about its folder.

    Args:
        path: of the file.
        task: the stem of what is trained, or the path of its file.

    Raises:
        RecipeError: it cannot be read, or is of a run of another task.
    """
    if path.is_dir():
        path = path / "config.json"
    if path.suffix.lower() != ".json":
        return RecipeFile(path, read_toml(path))
    try:
        config = read_json(path.parent, path.name)
    except RunFolderError as error:
        raise RecipeError(f"the recipe file {path}: {error}; to change a run's numbers, use --set") from error
    recipe = config.get("recipe")
    if not isinstance(recipe, dict):
        raise RecipeError(f"the recipe file {path} is no run's config.json: it has no recipe")
    there, code = config.get("task"), config.get("task_hash")
    if there not in (None, task_name(task)) and (code is None or code != task_file(task)):
        raise RecipeError(
            f"{path} is of a run of {there}, and this trains {task_name(task)}: write the fields that both have into a "
            "TOML file"
        )
    return RecipeFile(path, {name: value for name, value in recipe.items() if name != "overwrite"}, config)
