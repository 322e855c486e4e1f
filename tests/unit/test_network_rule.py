"""Which addresses may be fetched: every spelling that was ever used to get inside."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.tools.network_rule import (
    AddressClass,
    HostPattern,
    NetworkRule,
    UrlRefused,
    check_url,
    classify,
    parse_host_pattern,
)

CLOSED = NetworkRule()
WIDE_OPEN = NetworkRule(
    tuple(
        parse_host_pattern(host)
        for host in (
            "127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[fe80::1]",
            "[fd00:ec2::254]", "0.0.0.0", "[::]", "224.0.0.1", "100.100.100.200", "[ff02::1]",
            "255.255.255.255", "168.63.129.16", "[::ffff:169.254.169.254]",
        )
    )
)  # fmt: skip
"""An operator who allowed even what cannot be allowed."""


def check(url, rule=CLOSED, *narrowed_to):
    return str(check_url(url, rule=rule, narrowed_to=narrowed_to))


INSIDE = [
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.0.0.1:8080/",
    "http://127.1.2.3/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://①②⑦.⓪.⓪.①/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "HTTP://127.0.0.1/",
]
ODD = [
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x/",
    "http://127.0.0.01/",
    "http://127.0.0.1.1/",
    "http://foo.127/",
    "http://256.256.256.256/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://[fe80::1%25eth0]/",
    "http://[::1%251]/",
    "http://user@127.0.0.1/",
    "http://example.com@127.0.0.1/",
    "http://user:secret@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com /",
    "http://exam\tple.com/",
    "http://example.com\r\nHost: 127.0.0.1/",
    "http:///etc/passwd",
    "http:127.0.0.1",
    "//127.0.0.1/",
    "127.0.0.1",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://127.0.0.1:6379/",
    "data:text/plain,hello",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://a..b/",
    "http://[::1",
    "http://[127.0.0.1]/",
    "",
    "http://" + "a" * 5_000,
]
NEVER = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:1::1]/",
    "http://[::127.0.0.1]/",
    "http://[fd00:ec2::254]/",
    "http://[fd20:ce::254]/",
    "http://[fe80::1]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://[::]/",
    "http://[::ffff:0.0.0.0]/",
    "http://224.0.0.1/",
    "http://[ff02::1]/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://[fec0::1]/",
    "http://[64:ff9b:1::1]/",
]


@pytest.mark.parametrize("url", INSIDE + ODD + NEVER)
def test_nothing_inside_is_reached_unless_the_operator_said_so(url):
    with pytest.raises(UrlRefused):
        check(url)


@pytest.mark.parametrize("url", ODD + NEVER)
def test_some_addresses_stay_shut_whatever_the_operator_said(url):
    with pytest.raises(UrlRefused):
        check(url, WIDE_OPEN)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://127.0.0.1:8000/a?b=c#d", "http://127.0.0.1:8000/a?b=c"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
        ("http://[0:0::1]/", "http://[::1]/"),
        ("http://LOCALHOST/", "http://localhost/"),
    ],
)
def test_what_the_operator_named_is_reached(url, canonical):
    assert check(url, WIDE_OPEN) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "http://93.184.216.34/",
        "http://[2606:4700::1111]/",
        "http://[64:ff9b::5db8:d822]/",
        "https://é.fr/",
    ],
)
def test_the_public_internet_is_open(url):
    assert check(url)


def test_a_port_that_the_operator_did_not_name_stays_shut():
    rule = NetworkRule((HostPattern("127.0.0.1", 8000),))
    assert check("http://127.0.0.1:8000/", rule)
    with pytest.raises(UrlRefused):
        check("http://127.0.0.1:8001/", rule)


def test_an_address_is_permitted_only_under_the_name_that_was_allowed():
    rule = NetworkRule((HostPattern("db.corp"),))
    loopback = ipaddress.ip_address("127.0.0.1")
    assert rule.permits(loopback, host="db.corp", port=80)
    assert not rule.permits(loopback, host="evil.example", port=80)


def test_an_agents_list_narrows_and_never_widens():
    only = (HostPattern("example.com"), HostPattern("127.0.0.1"))
    assert check("http://example.com/", CLOSED, only)
    with pytest.raises(UrlRefused):
        check("http://example.org/", CLOSED, only)
    with pytest.raises(UrlRefused):
        check("http://127.0.0.1/", CLOSED, only)


def test_every_list_that_is_not_empty_must_have_a_match():
    with pytest.raises(UrlRefused):
        check("http://a.test/", CLOSED, (HostPattern("a.test"),), (HostPattern("b.test"),))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Example.COM", HostPattern("example.com")),
        ("example.com:80", HostPattern("example.com", 80)),
        ("*.example.com:80", HostPattern("*.example.com", 80)),
        ("[::1]:8080", HostPattern("::1", 8080)),
        ("::1", HostPattern("::1")),
        ("[0:0::1]", HostPattern("::1")),
    ],
)
def test_patterns_are_read(text, pattern):
    assert parse_host_pattern(text) == pattern


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "a b", "a:b", "a:0", "a:70000", "[::1", "[::1]x", "http://a", "10.0.0.0/8"],
)
def test_what_is_no_pattern_is_an_error(text):
    with pytest.raises(ValueError, match=r"port|host"):
        parse_host_pattern(text)


def test_a_star_matches_what_lies_below_and_not_the_name_itself():
    pattern = HostPattern("*.example.com")
    assert pattern.matches("a.example.com", 80)
    assert not pattern.matches("example.com", 80)
    assert not pattern.matches("evil-example.com", 80)


SPECIAL = [
    "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/29",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::1/128", "::/128", "64:ff9b:1::/48",
    "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8",
]  # fmt: skip


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_means_the_same_inside_ipv6(address):
    mapped = ipaddress.ip_address(f"::ffff:{address}")
    assert classify(mapped) is classify(address)


@given(st.sampled_from(SPECIAL).flatmap(lambda network: st.ip_addresses(network=network)))
def test_no_special_purpose_network_is_public(address):
    assert classify(address) is not AddressClass.PUBLIC


@given(st.text(max_size=40).map("http://".__add__) | st.text(max_size=40))
def test_any_text_is_a_public_url_or_refused(text):
    try:
        url = check_url(text, rule=CLOSED, narrowed_to=())
    except UrlRefused:
        return
    assert url.scheme in {"http", "https"}
    assert url.raw_host
