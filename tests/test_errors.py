"""UserError carries a message and, where there is one, the option or path that caused it."""

import copy
import pickle
from pathlib import Path

import pytest

from viceversa import UserError


def test_a_message_alone_is_still_enough():
    error = UserError("no images in data")
    assert (str(error), error.option, error.path) == ("no images in data", None, None)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("path", ["data/a.png", Path("data/a.png")])
def test_fields_are_kept_by_copies_and_pickles(path):
    error = UserError("is too large", option="data.crop_size", path=path)
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(same) == "is too large"
        assert same.option == "data.crop_size"
        assert same.path == Path("data/a.png")


def test_fields_are_given_by_name_only():
    with pytest.raises(TypeError):
        UserError("is too large", "data.crop_size")
