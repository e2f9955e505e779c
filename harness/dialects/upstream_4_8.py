"""Upstream 4.6.3 to 4.8.3, the newest: a crash that its worker reported is not held against it by the queue.

The queue's counter came with 4.5.13, safe integers with 4.6.0, causes with 4.6.3 (upstream §17).
"""

from __future__ import annotations

from typing import Final

import msgspec

from harness.dialects import upstream_4_5
from harness.wire.schema import Schema

DIALECT: Final = msgspec.structs.replace(
    upstream_4_5.DIALECT,
    name="upstream-4.8",
    stands_for="trigger.dev 4.6.3 to 4.8.3",
    like=upstream_4_5.DIALECT.name,
    published="4.8.3",
    crashes_count=False,
    schema=Schema(safe_integers=True, causes=True),
)
