"""What requests may hold and what answers do; the interface's description is made of these."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

_LONGEST_ID = 1000  # characters
_LONGEST_TEXT = 100_000


def _id(value: Any) -> str:
    """An id as a text: 17 stands for "17"; a real number is a damaged id."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"must be an id, which is a text or a whole number, not {value!r:.40}")
    text = str(value)
    if not 1 <= len(text) <= _LONGEST_ID:
        raise ValueError(f"must be an id of 1 to {_LONGEST_ID} characters, not of {len(text):,}")
    return text


def _picture(value: Any) -> bytes:
    """The file of a picture, out of base64, which may be that of an address ``data:``."""
    says = "must be the file of a picture in base64, without blanks and line ends"
    if not isinstance(value, str):
        raise ValueError(f"{says}, not {value!r:.40}")
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except ValueError:
        raise ValueError(says) from None


Id = Annotated[
    str, BeforeValidator(_id), WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]})
]
Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Picture = Annotated[bytes, BeforeValidator(_picture), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=10)]


class Body(BaseModel):
    """A request: strict, and of nothing but what is declared."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Asked(Body):
    model: str | None = Field(None, description="name of one of the models that are served; the first one if not given")


class _Person(_Asked):
    user: Id | None = Field(None, description="a person the model knows")
    history: list[Id] | None = Field(None, min_length=1, description="items that a person unknown to the model has")

    @model_validator(mode="after")
    def _of_one(self) -> _Person:
        given = [name for name in ("user", "users", "history") if getattr(self, name, None) is not None]
        if len(given) != 1:
            wanted = "`user`, `users` or `history`" if "users" in type(self).model_fields else "`user` or `history`"
            raise ValueError(f"give one of {wanted}, not {' and '.join(f'`{name}`' for name in given) or 'none'}")
        return self


class RecommendBody(_Person):
    """Whom to recommend to, and how."""

    users: list[Id] | None = Field(None, min_length=1, description="several people the model knows")
    k: int = Field(10, ge=1, description="items a person; if not given fewer than 10 where there are no more")
    candidates: list[Id] | None = Field(None, description="the only items that may be recommended")
    exclude: list[Id] = Field([], description="items that may not, such as those out of stock")
    diversity: Share = Field(
        0.0, description="how much a list avoids items that are alike (maximal marginal relevance)"
    )
    content_weight: Weight | None = Field(None, description="factor of what is derived from content; 1 is as trained")
    leave_out: Literal["all", "train+valid", "train", "none"] = Field(
        "all", description="what a user has that is not recommended again"
    )
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user": "u0001", "k": 10},
                {"history": ["i0003", "i0017"], "k": 20, "exclude": ["i0001"], "diversity": 0.3},
                {"users": ["u0001", "u0002"], "k": 5, "candidates": ["i0001", "i0002", "i0003", "i0004", "i0005"]},
            ]
        }
    )


class ExplainBody(_Person):
    """Why a person gets items."""

    items: list[Id] = Field(min_length=1, max_length=100, description="what to explain the scores of")
    content_weight: Weight | None = Field(None, description="as of the list that is explained")
    most: int = Field(5, ge=1, le=100, description="chosen items that are named; the others are summed up")
    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "u0001", "items": ["i0004"]}]})


class Interaction(Body):
    """That a person has chosen an item."""

    user: Id
    item: Id


class InteractionsBody(_Asked):
    """What people have chosen since the model was trained; new people are taken in."""

    interactions: list[Interaction] = Field(min_length=1)
    refit: bool = Field(
        False, description="whether a model that follows from interactions alone is fitted to them anew"
    )
    model_config = ConfigDict(json_schema_extra={"examples": [{"interactions": [{"user": "new-1", "item": "i0003"}]}]})


class NewItem(Body):
    """An item that was not there when the model was trained: what it is, as text, picture or vectors."""

    id: Id
    title: Text = ""
    text: Text | None = Field(None, description="encoded by the text encoder that made the data set")
    picture: Picture | None = Field(
        None, description="a file (JPEG, PNG, GIF, WebP, BMP or TIFF) in base64, encoded by what made the data set's"
    )
    vectors: dict[str, list[float]] = Field({}, description="vectors by modality, of the widths of the data set")


class NewItemsBody(_Asked):
    """Items that the model does not know yet."""

    items: list[NewItem] = Field(min_length=1)
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"id": "new-1", "title": "Oak mirror", "text": "A mirror of oak"}]}]}
    )


class ReloadBody(_Asked):
    """Which model to load anew; all if none is named."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


FIELDS = sorted(
    {
        name
        for body in (RecommendBody, ExplainBody, InteractionsBody, NewItem, NewItemsBody)
        for name in body.model_fields
    }
)


class Error(BaseModel):
    """What is wrong and what to do, in one sentence."""

    error: str


class ModelCard(BaseModel):
    """What is served under a name."""

    name: str
    model: str = Field(description="the kind of model")
    version: str
    users: int
    items: int
    takes_histories: bool
    takes_new_items: bool
    explains: bool
    weighs_content: bool
    pictures: bool
    loaded: str = Field(description="when, UTC")
    error: str | None = Field(description="why the newest export is not served, if it is not")


class Shown(BaseModel):
    """An item as it is shown."""

    item: str
    title: str | None = None
    picture: str | None = Field(None, description="an address, relative to the service or absolute")


class Scored(Shown):
    """An item of a list."""

    score: float


class PersonList(BaseModel):
    """A person's list, best first."""

    user: str | None
    source: Literal["model", "popular"] = Field(description="popular: nothing is known about this person")
    items: list[Scored]


class Recommended(BaseModel):
    """Lists, and ids of the request that name no item."""

    model: str
    version: str
    lists: list[PersonList]
    unknown_items: list[str]


class Items(BaseModel):
    """Items, best first."""

    model: str
    version: str
    items: list[Scored | Shown]


class Contribution(Shown):
    """What a chosen item adds to a score."""

    contribution: float


class PathContribution(BaseModel):
    """What a path of the model adds to a score."""

    path: str
    modality: str = Field(description="empty where it goes by none, or by several at once")
    contribution: float


class Explained(BaseModel):
    """A score by what it is made of: ``paths`` add up to it, and so do ``chosen`` with ``rest``."""

    item: str
    score: float
    chosen: list[Contribution]
    rest: float
    paths: list[PathContribution]


class Explanations(BaseModel):
    """Scores by what they are made of."""

    model: str
    version: str
    explanations: list[Explained]


class Users(BaseModel):
    """Ids of people, by the beginning of them."""

    users: list[str]


class Changed(BaseModel):
    """What a change changed, by the names of the models."""

    models: dict[str, dict[str, int]]


class Reloaded(BaseModel):
    """What a reload led to, by the names of the models: ``loaded``, ``unchanged``, or why the old one is kept."""

    models: dict[str, str]


class Health(BaseModel):
    """Whether the service works, and what it serves."""

    status: Literal["ok"]
    models: list[ModelCard]


class Ready(BaseModel):
    """That the service may be asked."""

    ready: Literal[True]
