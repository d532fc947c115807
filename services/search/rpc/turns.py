"""The turns of a ComposeSearch request, checked field by field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scot.edit import Edit, joined
from scot.errors import InvalidInput
from scot.v1 import search_pb2
from services.search.rpc import limits
from services.search.rpc.validation import checked_id, checked_image, checked_text, checked_vector


@dataclass(frozen=True, slots=True)
class ReferenceInput:
    """A checked reference, and the request's field that has it; one of the three sources is set."""

    field: str
    weight: float
    image: bytes | None = None
    item_id: str | None = None
    vector: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class TurnInput:
    """A checked turn. ``path`` is what the names of its fields begin with."""

    path: str
    references: tuple[ReferenceInput, ...]
    edits: tuple[Edit, ...]
    like: tuple[str, ...]
    dislike: tuple[str, ...]

    def items(self) -> Iterator[tuple[str, str]]:
        """Each item of the collection that it names, behind the name of its field."""
        for reference in self.references:
            if reference.item_id is not None:
                yield f"{reference.field}.item_id", reference.item_id
        for name, item_ids in (("like", self.like), ("dislike", self.dislike)):
            for place, item_id in enumerate(item_ids):
                yield f"{self.path}{name}[{place}]", item_id


def parse_turns(request: search_pb2.ComposeSearchRequest, dim: int) -> tuple[TurnInput, ...]:
    """The earlier turns, and the request itself as the last one, for an encoder of dimension ``dim``.

    Raises:
        InvalidInput: a field is wrong; the message begins with its name.
    """
    if len(request.turns) > limits.MAX_TURNS:
        raise InvalidInput(f"turns: {len(request.turns)} are more than {limits.MAX_TURNS}")
    first = [("reference", request.reference)] if request.HasField("reference") else []
    turns: list[TurnInput] = []
    for place, message in enumerate(request.turns):
        turns.append(_turn(f"turns[{place}].", [], message, dim, bool(turns)))
    turns.append(_turn("", first, request, dim, bool(turns)))
    images = [each.field for turn in turns for each in turn.references if each.image is not None]
    if len(images) > limits.MAX_IMAGES:
        raise InvalidInput(f"{images[limits.MAX_IMAGES]}.image: more than {limits.MAX_IMAGES} images in one request")
    return tuple(turns)


def _turn(
    path: str,
    first: list[tuple[str, search_pb2.Reference]],
    message: search_pb2.Turn | search_pb2.ComposeSearchRequest,
    dim: int,
    started: bool,
) -> TurnInput:
    listed = [*first, *((f"{path}references[{n}]", each) for n, each in enumerate(message.references))]
    if len(listed) > limits.MAX_REFERENCES:
        raise InvalidInput(f"{path}references: {len(listed)} are more than {limits.MAX_REFERENCES}")
    references = tuple(_reference(field, each, dim) for field, each in listed)
    if references and not any(each.weight > 0 for each in references):
        field = "references" if message.references else first[0][0]
        raise InvalidInput(f"{path}{field}: one weight must be above 0; to move away from an item alone, dislike it")
    edits = parse_edits(f"{path}edits", list(message.edits))
    like, dislike = _ids(f"{path}like", message.like), _ids(f"{path}dislike", message.dislike)
    if both := set(like) & set(dislike):
        raise InvalidInput(f"{path}dislike: the item {min(both)!r} is also liked")
    turn = TurnInput(path, references, edits, like, dislike)
    if not (references or started):
        _check_start(turn)
    elif path and not (references or edits or like or dislike):
        raise InvalidInput(f"{path}edits: the turn is empty")
    return turn


def _check_start(turn: TurnInput) -> None:
    """Check that a turn without references and turns before has something to start from."""
    if not turn.edits and not turn.like:
        if turn.dislike:
            raise InvalidInput(f"{turn.path}dislike: there is nothing to move away from: add a reference or an edit")
        raise InvalidInput(f"{turn.path}edits: give a reference, an edit, or both")
    if turn.edits and turn.edits[0].negative:
        raise InvalidInput(f"{turn.path}edits[0].negative: without a reference there is nothing to move away from")


def _reference(field: str, message: search_pb2.Reference, dim: int) -> ReferenceInput:
    weight = message.weight if message.HasField("weight") else 1.0
    if not abs(weight) <= limits.MAX_WEIGHT:  # NaN too
        raise InvalidInput(f"{field}.weight: must be between -{limits.MAX_WEIGHT} and {limits.MAX_WEIGHT}")
    match message.WhichOneof("source"):
        case "image":
            return ReferenceInput(field, weight, image=checked_image(f"{field}.image", message.image))
        case "item_id":
            return ReferenceInput(field, weight, item_id=checked_id(f"{field}.item_id", message.item_id))
        case "vector":
            return ReferenceInput(field, weight, vector=checked_vector(f"{field}.vector", message.vector, dim))
    raise InvalidInput(f"{field}: set one of image, item_id and vector, or leave the reference out")


def _ids(field: str, item_ids: Sequence[str]) -> tuple[str, ...]:
    if len(item_ids) > limits.MAX_FEEDBACK:
        raise InvalidInput(f"{field}: {len(item_ids)} are more than {limits.MAX_FEEDBACK}")
    return tuple(dict.fromkeys(checked_id(f"{field}[{place}]", each) for place, each in enumerate(item_ids)))


def parse_edits(field: str, messages: list[search_pb2.Edit]) -> tuple[Edit, ...]:
    """The edits of a turn; neighboring plain edits (weight 1, not negative) become one, joined with ``" and "``.

    Raises:
        InvalidInput: there are too many, or one is empty, too long or has a weight outside [0, 1].
    """
    if len(messages) > limits.MAX_EDITS:
        raise InvalidInput(f"{field}: {len(messages)} are more than {limits.MAX_EDITS}")
    edits: list[Edit] = []
    for place, message in enumerate(messages):
        text = checked_text(f"{field}[{place}].text", message.text)
        weight = message.weight if message.HasField("weight") else 1.0
        if not 0.0 <= weight <= 1.0:
            raise InvalidInput(f"{field}[{place}].weight: must be between 0 and 1")
        edit = Edit(text, weight, message.negative)
        if edits and all(each.weight == 1.0 and not each.negative for each in (edits[-1], edit)):
            edits[-1] = Edit(joined([edits[-1].text, text]))
        else:
            edits.append(edit)
    return tuple(edits)
