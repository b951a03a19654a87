"""What is said of requests that are not as they are declared."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from recbole_cadmr.serving.refusal import of_invalid


class Body(BaseModel):
    k: int = Field(1, ge=1, le=1_000_000)
    share: float = Field(0.5, ge=0.05, lt=1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"k": 2_000_000}, "`k` must be at most 1,000,000, not 2000000"),
        ({"k": 0}, "`k` must be at least 1, not 0"),
        ({"share": 0.01}, "`share` must be at least 0.05, not 0.01"),
        ({"share": 1.0}, "`share` must be below 1, not 1.0"),
    ],
)
def test_bounds_are_said_in_full(body, says):
    with pytest.raises(ValidationError) as error:
        Body(**body)
    refused = of_invalid(error.value.errors()[0], [])
    assert (refused.status, str(refused)) == (422, says)
