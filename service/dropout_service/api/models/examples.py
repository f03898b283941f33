"""Small files of formats that only PyArrow writes, which the service does not import for its documentation."""

from __future__ import annotations

from base64 import b64decode
from typing import Final
from zlib import decompress

__all__ = ["ARROW_FILE", "ARROW_STREAM", "PARQUET"]

PARQUET: Final = decompress(
    b64decode(
        "eNqVkc9Kw0AQxr/dLCHWS1o7QxZyyEGXiGlplIqHHOq9h+IbhBLRgzam/nsEDz6A+iwePfboA7kJBBVy6ceyO8wM85uPXZxfpKTIp+GcJGEA"
        "eOFJo90ZgQbESVN2yQ0Dr638Rizjjmy/D2AnkvZ2hJCwIyLan9unJvjZZaPh7OO91l4Hqe0IvLaHEXdk/5CUEI4kpbMpAne9vCpuclKg3oEM"
        "5HPaBhOw0qFODELq6SlcX9dlkqz4U/CXMGfG286qrhcHWZuw+0tkh642sl7pP2TSQDaCv4V5lWYjtvPZiYGyGH5xWBmP3xzEUZlXdw/F/WhZ"
        "lqO8qlZP0WNRra9Xt9Hx6XgyTnUSAvbgSAAL+/0/ltpZSg=="
    )
)
ARROW_FILE: Final = decompress(
    b64decode(
        "eNrNUjEOgkAQHA48CV5BIjEUlhaUEn0AvMCExsbaN/gVrXyCpaWV8Qn+BueWJSIvcBJ29/Z2Z2eBuml2+xJoiSuAFB4JHCwmiBkRQcQzeIpp"
        "I7WA4VNp/GY/C0Pfn2kOWnNaA0+5N+TP2G8xFcZU53V9y3Ff6SMr9VazXuddZ3g4LFSpE0aEEXK6Aj0Snp2o9rscdEeDL6JBHKiP1afqc/wi"
        "H933ms2Ix4z6+vxGMKv6/FGQVZezx7xq5X11/I7bWtkw7Xak4i3tSrV7zpvyPNQXg5n/8N1etLX8ax8ISDKK"
    )
)
ARROW_STREAM: Final = decompress(
    b64decode(
        "eNpdUMsNQiEQnMdDJE8OJL4YDhbgUWMDFOLZGmxFT5ZhBdZgNzisS1Qmgf3O7EIppdwBRFRMCHBYwNMjBssYjDxvqzdgeLL6L/LZOFb+rDlo"
        "z2UPPKVuqD+T77AUxajzPrxtzztUz0m/0yxlykNnVARsdNMgihgtEs0ODRPjIFvXt5z0jQZf2B9/UOvVRrUJ/0hdve1sOh3T8Vr+KFjllj8L"
        "5ny7Vqxzkf8C3uZZIbU="
    )
)
"""Each has the columns `x1` and `x0`, and two rows, the second with a gap."""
