from __future__ import annotations

import pytest

from modelyard.domain.packages import PackageQuery
from modelyard.errors import InvalidRequest


@pytest.mark.parametrize(
    ("asked", "name"), [("Jinja2", "jinja2"), ("my_pkg.x>=1", "my-pkg-x"), (" numpy ", "numpy")]
)
def test_names_are_compared_in_their_usual_form(asked: str, name: str) -> None:
    assert PackageQuery.parse(asked).name == name


@pytest.mark.parametrize(
    ("asked", "version", "meant"),
    [
        ("jinja2", "3.1.4", True),
        ("jinja2", "4.0rc1", True),
        ("jinja2<3.1.4", "3.1.3", True),
        ("jinja2<3.1.4", "3.1.4", False),
        ("jinja2<3.1.4", "3.1.4rc1", False),
        ("jinja2<=3.1.4", "3.1.4rc1", True),
        ("torch<2.8", "2.7.1+cpu", True),
        ("torch==2.7.1", "2.7.1+cpu", True),
        ("numpy>=1,!=2.0", "2.0", False),
        ("numpy<2", "not a version", True),
    ],
)
def test_versions_are_compared_as_installers_do(asked: str, version: str, meant: bool) -> None:
    assert PackageQuery.parse(asked).matches(version) is meant


@pytest.mark.parametrize(
    "asked",
    ["", "<3", "jinja2 <", "a b", "jinja2[i18n]", "jinja2 ; python_version < '3'", "x @ file:///x"],
)
def test_anything_else_is_refused(asked: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PackageQuery.parse(asked)
    assert "jinja2<3.1.4" in refused.value.hint
