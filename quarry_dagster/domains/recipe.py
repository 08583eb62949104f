"""Recipes, by schema.org's Recipe (https://schema.org/Recipe)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from quarry_dagster.domains.product import rating
from quarry_dagster.domains.view import MOST, PageView, filled, lines_in, names, said


def recipe(view: PageView) -> dict[str, Any] | None:
    """`name`, `author`, `ingredients`, `steps`, times, `yield`, `category`, `cuisine`, `calories`, `rating`.

    Times are `prep_time`, `cook_time` and `total_time`, in ISO 8601 as the page writes them.
    """
    found = view.nodes("Recipe")
    if not found:
        return None
    node = max(found, key=len)
    nutrition = view.first(node.get("nutrition"))
    steps = node.get("recipeInstructions") or node.get("instructions")
    return filled(
        {
            "name": said(node.get("name")),
            "author": ", ".join(names(view, node.get("author"))),
            "ingredients": names(view, node.get("recipeIngredient") or node.get("ingredients"))[:MOST],
            "steps": list(islice(lines_in(steps), MOST)),
            "prep_time": said(node.get("prepTime")),
            "cook_time": said(node.get("cookTime")),
            "total_time": said(node.get("totalTime")),
            "yield": said(node.get("recipeYield") or node.get("yield")),
            "category": names(view, node.get("recipeCategory")),
            "cuisine": names(view, node.get("recipeCuisine")),
            "calories": said(nutrition.get("calories")) if isinstance(nutrition, Mapping) else None,
            "rating": rating(view, node),
        }
    )
