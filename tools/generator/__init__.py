"""docs/generator.html: a form that writes the command, built from `_cm.yaml` and the schema."""

from __future__ import annotations

from generator.document import generator_page

__all__ = ["generator_page"]
