from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from modelyard.client.captures import Captures
from modelyard.client.connection import Connection
from modelyard.errors import InvalidRequest


def test_a_file_without_a_folder_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    connection = Mock(Connection)
    with pytest.raises(InvalidRequest, match="there is no folder"):
        Captures(connection).export(tmp_path / "missing" / "train.csv")
    connection.request.assert_not_called()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    connection = Mock(Connection)
    connection.request.return_value.content = b"x"
    (tmp_path / ".a.csv.part").mkdir()
    with pytest.raises(InvalidRequest, match=r"cannot write `.*a\.csv`"):
        Captures(connection).export(tmp_path / "a.csv")
