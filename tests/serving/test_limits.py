"""How many requests one client may make."""

from __future__ import annotations

import pytest

from recbole_cadmr.serving.limits import RateLimit, client_of


def test_a_client_may_ask_for_two_seconds_at_once_and_then_as_fast_as_its_bucket_fills():
    now = [0.0]
    limit = RateLimit(2.0, lambda: now[0])
    assert [limit.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert limit.wait("b") == 0  # another one has its own
    now[0] = 0.25
    assert limit.wait("a") == 0.25
    now[0] = 0.5
    assert [limit.wait("a"), limit.wait("a")] == [0, 0.5]
    now[0] = 1000.0
    assert [limit.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]


def test_less_than_one_request_a_second():
    now = [0.0]
    limit = RateLimit(0.1, lambda: now[0])
    assert [limit.wait("a"), limit.wait("a")] == [0, 10]


def test_clients_that_were_silent_longest_are_forgotten_first():
    limit = RateLimit(0.5, lambda: 0.0)
    assert [limit.wait("old"), limit.wait("kept")] == [0, 0]
    for n in range(9_999):
        limit.wait(str(n))
    assert limit.wait("kept") > 0 and limit.wait("old") == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_one_customer_of_ipv6_is_one_client(address, client):
    assert client_of(address) == client
