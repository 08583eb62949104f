"""Which addresses may be connected to, and that no way leads around the rule."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from quarry_dagster.crawl import Request, allowed_networks, crawl
from quarry_dagster.crawl.addresses import AddressBlocked, AddressRule
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster_tests.hostile_site import HostileSite

SETTINGS = Crawl(delay_per_host=0, retries=0, page_timeout=5)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%2",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::10.0.0.1",
        "2002:0a00:0001::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::7f00:1",
        "2001:0:a00:1::",
    ],
)
def test_addresses_that_are_not_public_are_blocked(address):
    with pytest.raises(AddressBlocked):
        AddressRule().check(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
)
def test_public_addresses_are_open(address):
    AddressRule().check(address)


def test_an_allowed_network_opens_only_itself():
    rule = AddressRule([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    for address in ("10.9.9.9", "::ffff:10.9.9.9", "fd00::1"):
        rule.check(address)
    for address in ("127.0.0.1", "169.254.169.254", "fc00::1"):
        with pytest.raises(AddressBlocked):
            rule.check(address)


def test_networks_are_read_from_a_setting():
    assert allowed_networks(" 127.0.0.0/8, ::1/128 10.0.0.0/8\n") == tuple(
        map(ip_network, ("127.0.0.0/8", "::1/128", "10.0.0.0/8"))
    )
    assert allowed_networks("") == ()


@pytest.mark.parametrize("item", ["localhost", "127.0.0.1/8", "10.0.0.0/33"])
def test_a_bad_network_is_named(item):
    with pytest.raises(ConfigError, match=item):
        allowed_networks(f"::1/128, {item}")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "0x7f.0.0.1", "[::ffff:127.0.0.1]"])
def test_no_name_of_loopback_is_connected_to(name):
    with HostileSite() as site:
        (response,) = crawl([Request(f"http://{name}:{site.port}/")], SETTINGS)
        assert (response.outcome, response.status, response.body) == ("blocked_address", None, None)
        assert response.detail and "127.0.0.1" in response.detail
        assert not site.requests


@pytest.mark.parametrize("name", ["127.1", "2130706433", "0"])
def test_old_spellings_of_addresses_are_no_urls(name):
    with HostileSite() as site:
        (response,) = crawl([Request(f"http://{name}:{site.port}/")], SETTINGS)
        assert response.outcome in ("invalid_url", "blocked_address")
        assert not site.requests


@pytest.mark.parametrize("to", ["http://127.0.0.2:9/", "http://169.254.169.254/latest/meta-data/", "//10.0.0.1/"])
def test_a_redirect_to_a_blocked_address_is_not_followed(to):
    with HostileSite() as site:
        url = site.redirect("/r", to)
        (response,) = crawl([Request(url)], SETTINGS, allow_addresses=allowed_networks("127.0.0.1/32"))
        assert response.outcome == "blocked_address"
        assert response.final_url and response.final_url.startswith(f"http:{to.removeprefix('http:')}")


def test_robots_txt_redirected_to_a_blocked_address_is_not_followed():
    with HostileSite() as site, HostileSite("127.0.0.2") as inside:
        site.redirect("/robots.txt", inside.url("/robots.txt"))
        url = site.page("/a")
        (response,) = crawl([Request(url)], SETTINGS, allow_addresses=allowed_networks("127.0.0.1/32"))
        assert response.outcome == "blocked_address"
        assert response.detail and "127.0.0.2" in response.detail
        assert not inside.requests and not site.asked("/a")
