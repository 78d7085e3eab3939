"""Tasks: one module per data set, which brings together its files, its network and its recipes.

Every task has ``CL``, ``SPL``, ``CL_OFFICIAL`` and ``SPL_OFFICIAL`` (recipes), ``build_data(recipe, root)``,
``build_model(recipe)``, ``sample_recipe(recipe)`` and ``write_sample(root)``. Nothing else in ``bss`` imports a task.
"""
