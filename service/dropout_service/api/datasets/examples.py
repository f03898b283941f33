"""Small files of formats that only PyArrow writes, which the service does not import for its documentation."""

from __future__ import annotations

from base64 import b64decode
from typing import Final
from zlib import decompress

__all__ = ["ARROW_FILE", "ARROW_STREAM", "PARQUET"]

PARQUET: Final = decompress(
    b64decode(
        "eNoLcAwyFGUQdRB10BHlADLYRNlkGDABIxqNRwsjDq1EaEHXKsoi6WPKIMFWnJyRmpsoygYUUGWQYEyE0klQupJBjENSRtJGjUEGqEOVjUESqE"
        "YUKCiWJpamxuEpIwqynAloILKKJLiKPBwqKuEqrjAiKRHbxCTGocYBpBg0FAoSiwpLU0t0kwsKdBOLivLLFcpSi4oz8/MUjMz0DPQMJW2AHoUg"
        "hvNAHAAMbwC6JiZ2"
    )
)
ARROW_FILE: Final = decompress(
    b64decode(
        "eNrVU7ENwkAMvJCQROiLFAhRUFCwABIDJBMgpaENzECDxCCMwCCMQMEIKdkAzo4johdBUHKS37H957f9n6Is15sl8CBuADIIRnCIMUTKLyKIaI"
        "NWyjWyFQgpe8rK7DNzUA0kx9h8SqccKKcmHuRcrh/27iiXzt6MO+TMRKvIrMaGO/O4W63TURLltDmkv9rOEjhMrEOnWRFGmFJVaDGi7bRbmcHR"
        "ZhPhhRj9mHu6z5978fwNL/TOxRe2j8DT+NH2/Y/mfnQmjlONdZJZM0tWI29iYXUJtzbe3XTVyfXP70qChf5DT29dPMo="
    )
)
ARROW_STREAM: Final = decompress(
    b64decode(
        "eNqVUckNwjAQHGOTRJEffiDEgwdFUIBLAWrgg0QhlEAhlMCDEujCGdsbgVYEwUizm1nvZSellB4AAjJ6eDSYo+MXYRw1qDpaJxaw5JHcir6yB9"
        "0s91hIrJSTJ/JSz02kuX/JPZC3t9zAjDyzLVsE2bHWrlXtvuzpybbUjD3YLj1lVobHUm7oS1dYhxXdDiN6al9um9/gLG/j8EKDaWyUn4pHdR4/"
        "1Fk1Fz9oDaM8/tQ6nur/wQApeSOl"
    )
)
"""Each has the columns `a`, `b` and `y`, and four rows: exclusive or."""
