"""Tables of attenuation: published figures, no slip of the pen, and what lies between the nodes."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from tfmedcai.simulators.mass_attenuation import DENSITIES, mass_attenuation

KEV = np.array([10, 15, 20, 30, 40, 50, 60, 80, 100, 150.0])
SMOOTH = sorted(set(DENSITIES) - {"tungsten"})


@pytest.mark.parametrize(
    ("material", "at_30_kev", "at_60_kev"),
    [
        ("air", 0.3538, 0.1875),
        ("water", 0.3756, 0.2059),
        ("soft_tissue", 0.3790, 0.2048),
        ("bone", 1.331, 0.3148),
        ("aluminium", 1.128, 0.2778),
        ("titanium", 4.972, 0.7661),
        ("iron", 8.176, 1.205),
        ("tungsten", 22.73, 3.713),
    ],
)
def test_published_figures(material, at_30_kev, at_60_kev):
    np.testing.assert_allclose(mass_attenuation(material, np.array([30, 60])), [at_30_kev, at_60_kev], rtol=1e-12)


@pytest.mark.parametrize("material", SMOOTH)
def test_harder_photons_are_attenuated_less(material):
    assert np.all(np.diff(mass_attenuation(material, np.linspace(10, 150, 500))) < 0)


@pytest.mark.parametrize("material", SMOOTH)
def test_every_node_fits_its_neighbours(material):
    values = np.log(mass_attenuation(material, KEV))
    for left_out in range(2, len(KEV) - 2):
        others = np.delete(np.arange(len(KEV)), left_out)
        expected = CubicSpline(np.log(KEV[others]), values[others])(np.log(KEV[left_out]))
        assert abs(expected - values[left_out]) < 0.03


def test_between_the_nodes_of_water_is_photoelectric_effect_and_scatter():
    # At 20 and 30 keV 0.544 and 0.146 cm^2/g are photoelectric, so the power is 3.25; the rest changes slowly.
    scatter = (0.8096 - 0.544 + 0.3756 - 0.146) / 2
    np.testing.assert_allclose(mass_attenuation("water", 25.0), 0.544 * (20 / 25) ** 3.25 + scatter, rtol=0.01)


def test_tungsten_has_an_edge():
    below, at, above = mass_attenuation("tungsten", np.array([69.52, 69.525, 69.53]))
    np.testing.assert_allclose([below, at, above], [2.552, 11.23, 11.23], rtol=1e-3)


def test_elements_and_tissues_have_their_densities():
    assert (DENSITIES["water"], DENSITIES["bone"], DENSITIES["titanium"], DENSITIES["iron"]) == (1.0, 1.92, 4.54, 7.874)


def test_what_is_not_in_the_tables():
    with pytest.raises(ValueError, match="`material` must be one of air"):
        mass_attenuation("cheese", 60.0)
    with pytest.raises(ValueError, match=r"must be from 10 to 150 keV\. Received 9 to 60"):
        mass_attenuation("water", np.array([9.0, 60.0]))
