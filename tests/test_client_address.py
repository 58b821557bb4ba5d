import pytest

from server.client_address import client_of


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("203.0.113.7", 4711), "203.0.113.7"),
        (("2001:db8:1:2:aaaa:bbbb:cccc:dddd", 1), "2001:db8:1:2::/64"),
        (("::ffff:203.0.113.7", 1), "203.0.113.7"),
        (("made up", 0), "made up"),
        (("x" * 1000, 0), "x" * 64),
        (None, "unknown"),
    ],
)
def test_a_client_is_an_address_or_an_ipv6_network(peer, client):
    assert client_of({"type": "http", "client": peer}) == client
