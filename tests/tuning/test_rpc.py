"""Calls between processes: answers, errors, strangers."""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing import AuthenticationError

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.rpc import Caller, Served
from tests.processes import pool


class Sums:
    def __init__(self):
        self.total = 0

    def add(self, number, times=1):
        before = self.total
        self.total = before + number * times
        return self.total

    def forget(self):
        self.total = 0

    def refuse(self):
        raise UserError("no")


@pytest.fixture
def served():
    one = Served(Sums(), ["add", "refuse"], "127.0.0.1")
    yield one
    one.close()


def add_a_hundred(caller):
    sums = caller.connect()
    return [sums.add(1) for _ in range(100)]


def test_calls_from_other_processes_are_answered_one_at_a_time(served):
    with pool(3) as callers:
        answers = callers.map(add_a_hundred, [served.caller] * 3)
    assert sorted(answer for some in answers for answer in some) == list(range(1, 301))
    assert served.add(5, times=2) == 310 == served.caller.connect().add(0)


def test_what_is_raised_there_is_raised_here(served):
    with pytest.raises(UserError, match="^no$"):
        served.caller.connect().refuse()


def test_only_what_is_exposed_can_be_called(served):
    stranger = served.caller.connect()
    with pytest.raises(AttributeError):
        stranger.forget()
    with pytest.raises(Exception, match="method 'forget' of <class .*> object is not in exposed"):
        stranger._callmethod("forget")
    served.forget()  # by the process that serves it


def test_a_closed_one_answers_no_more(served):
    before = served.caller.connect()
    before.add(0)
    served.close()
    with pytest.raises(ConnectionRefusedError, match="the search has ended"):
        before.add(1)
    end = time.monotonic() + 20
    with pytest.raises((ConnectionError, EOFError)):
        while time.monotonic() < end:
            served.caller.connect()  # until nobody listens


def test_the_object_stays_when_all_callers_have_gone(served):
    for _ in range(20):
        assert served.caller.connect().add(0) == 0


def test_strangers_are_not_answered_and_keep_nobody_waiting(served):
    silent = [socket.create_connection(served.caller.address) for _ in range(3)]
    with pytest.raises(AuthenticationError):
        Caller(served.caller.address, b"guessed").connect()
    answers = []
    caller = threading.Thread(target=lambda: answers.append(served.caller.connect().add(2)), daemon=True)
    caller.start()
    caller.join(20)
    assert answers == [2]
    for connection in silent:
        connection.close()
