import pytest

from notify.countries import is_country


@pytest.mark.parametrize(
    "name",
    ["France", "south korea", "CÔTE D'IVOIRE", "Cote d’Ivoire", "U.S.A.", "Bosnia and Herzegovina", "Saint Lucia"],
)
def test_countries_are_known_however_they_are_written(name):
    assert is_country(name)


@pytest.mark.parametrize("name", ["", "123", "London", "Paris", "SW1A 1A", "Frankreich"])
def test_other_places_are_not_countries(name):
    assert not is_country(name)
