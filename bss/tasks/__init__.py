"""Tasks: one module per data set, which brings together its files, its network and its recipes.

Every task has ``CL``, ``SPL``, ``CL_OFFICIAL`` and ``SPL_OFFICIAL`` (from :mod:`bss.recipes`), ``RELEASED_KEYS``
(names of the released network's state dict), ``build_data(recipe, root)``, ``build_model(recipe, root)``,
``sample_recipe(recipe)`` and ``write_sample(root)``. What tasks share is beside them: :mod:`bss.tasks.parts`, and by
kind :mod:`bss.tasks.audiovisual` and :mod:`bss.tasks.imagetext`. Nothing else in ``bss`` imports a task.
"""
