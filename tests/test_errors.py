"""UserError contains a message and, if known, the option or path that caused it."""

import copy
import pickle
from pathlib import Path

import pytest

from viceversa import UserError


def test_option_and_path_are_optional():
    error = UserError("no images in data")
    assert (str(error), error.option, error.path) == ("no images in data", None, None)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("path", ["data/a.png", Path("data/a.png")])
def test_fields_are_kept_by_copies_and_pickles(path):
    error = UserError("is too large", option="data.crop_size", path=path)
    for copied in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(copied) == "is too large"
        assert copied.option == "data.crop_size"
        assert copied.path == Path("data/a.png")


def test_fields_are_keyword_arguments():
    with pytest.raises(TypeError):
        UserError("is too large", "data.crop_size")
