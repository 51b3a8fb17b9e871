"""Processes as this operating system shows them: `proc` on Linux, `ps` elsewhere."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from modelyard.agent.supervisor.proc import (
        SAMPLE_INTERVAL,
        adopt_orphans,
        children,
        command_lines,
        descendants,
        end_with_parent,
        offer_to_the_kernel,
        proportional,
        resident,
    )
else:
    from modelyard.agent.supervisor.ps import (
        SAMPLE_INTERVAL,
        adopt_orphans,
        children,
        command_lines,
        descendants,
        end_with_parent,
        offer_to_the_kernel,
        proportional,
        resident,
    )

__all__ = [
    "SAMPLE_INTERVAL",
    "adopt_orphans",
    "children",
    "command_lines",
    "descendants",
    "end_with_parent",
    "offer_to_the_kernel",
    "proportional",
    "resident",
]
