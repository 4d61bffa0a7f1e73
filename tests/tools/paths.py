"""Where the checkout lies, and what lies beside it; tests that need ``SHARED`` skip where it is absent."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
