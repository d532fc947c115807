from __future__ import annotations

import pickle

import grpc
import pytest

from scot import errors


def subclasses(cls: type[errors.ScotError]) -> set[type[errors.ScotError]]:
    return {cls}.union(*(subclasses(sub) for sub in cls.__subclasses__()))


def example(cls: type[errors.ScotError]) -> errors.ScotError:
    return errors.ImageRefused("too_large", "a sentence") if cls is errors.ImageRefused else cls("a sentence")


def defined_here() -> list[type[errors.ScotError]]:
    own = (cls for cls in subclasses(errors.ScotError) if cls.__module__ == "scot.errors")
    return sorted(own, key=lambda cls: cls.__name__)


def test_every_listed_status_is_one_of_grpc() -> None:
    assert set(errors.GRPC_STATUS.values()) <= set(grpc.StatusCode.__members__)


@pytest.mark.parametrize("cls", [cls for cls in defined_here() if cls is not errors.ScotError])
def test_every_error_has_a_status_of_its_own(cls: type[errors.ScotError]) -> None:
    assert errors.grpc_status(example(cls)) != "INTERNAL"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidInput("x"), "INVALID_ARGUMENT"),
        (errors.ImageRefused("empty", "x"), "INVALID_ARGUMENT"),
        (errors.NotFound("x"), "NOT_FOUND"),
        (errors.EncoderMismatch("x"), "FAILED_PRECONDITION"),
        (errors.Overloaded("x"), "RESOURCE_EXHAUSTED"),
        (errors.ScotError("x"), "INTERNAL"),
        (KeyError("x"), "INTERNAL"),
        (KeyboardInterrupt(), "INTERNAL"),
    ],
)
def test_the_status_of(error: BaseException, status: str) -> None:
    assert errors.grpc_status(error) == status


def test_a_subclass_elsewhere_maps_as_its_nearest_listed_base() -> None:
    class Specific(errors.NotFound):
        pass

    assert errors.grpc_status(Specific("x")) == "NOT_FOUND"


@pytest.mark.parametrize("cls", defined_here())
def test_errors_cross_processes(cls: type[errors.ScotError]) -> None:
    error = example(cls)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
