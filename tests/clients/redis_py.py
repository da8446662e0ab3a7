"""redis-py against a running server.

TRUEUP_RESP is the server's address, TRUEUP_DB the SQLite file it serves. Writes go to the file through Python's own
sqlite3 module, by statements that know nothing of the cache.
"""

import json
import os
import sqlite3
import threading
import time

import redis

HOST, _, PORT = os.environ["TRUEUP_RESP"].rpartition(":")
DEADLINE_S = 10
ORIGINS = {"l1", "l2", "source"}


def client(**options):
    return redis.Redis(host=HOST, port=int(PORT), socket_timeout=DEADLINE_S, **options)


def write(statement, *values):
    with sqlite3.connect(os.environ["TRUEUP_DB"], timeout=DEADLINE_S) as bank:
        bank.execute(statement, values)
    bank.close()


def set_balance(account, balance):
    write("UPDATE account SET balance = ? WHERE id = ?", balance, account)


def row(reply):
    return None if reply is None else json.loads(reply)


def eventually(read, wanted):
    """Reads until the fact is there: what is waited for is the fact, never an amount of time."""
    end = time.monotonic() + DEADLINE_S
    while (got := read()) != wanted:
        assert time.monotonic() < end, f"wanted {wanted!r} within {DEADLINE_S} s, got {got!r}"


def refused(call, *expected):
    try:
        answer = call()
    except redis.RedisError as error:
        for word in expected:
            assert word in str(error), f"the message {error} lacks {word!r}"
        return
    raise AssertionError(f"wanted an error, got {answer!r}")


def test_bytes_and_decoded(protocol):
    set_balance(2, 250)
    expected = {"id": 2, "owner": "Božena", "balance": 250}
    raw, decoded = client(protocol=protocol), client(protocol=protocol, decode_responses=True)
    eventually(lambda: row(raw.get("account:2")), expected)
    assert isinstance(raw.get("account:2"), bytes)
    text = decoded.get("account:2")
    assert isinstance(text, str) and json.loads(text) == expected
    assert decoded.get("account:404") is None
    assert json.loads(decoded.get("account:3"))["owner"] == "李雷"


def test_commands_about_data(protocol):
    r = client(protocol=protocol, decode_responses=True)
    rows = [row(reply) for reply in r.mget("account:1", "account:404", "account:3")]
    assert [found and found["id"] for found in rows] == [1, None, 3]
    assert r.exists("account:1", "account:404", "account:1") == 2
    assert r.ttl("account:404") == -2 and r.ttl("account:1") >= -1
    assert r.delete("account:1") in (0, 1)
    assert row(r.get("account:1"))["owner"] == "Ada"
    assert row(r.get("mandate:2,bozena"))["role"] == "owner"


def test_commands_about_the_connection(protocol):
    r = client(protocol=protocol, decode_responses=True, client_name="till-7")
    assert r.ping() is True
    assert r.echo("hello") == "hello"
    info = r.info()
    assert info["redis_version"] and info["loading"] == 0
    assert isinstance(r.client_id(), int)
    assert r.client_getname() == "till-7"
    assert r.client_setinfo("LIB-NAME", "tests")
    assert int(r.execute_command("HELLO", protocol)["proto"]) == protocol if protocol == 3 else True
    assert r.select(0)
    assert r.command_count() > 10


def test_pipeline(protocol):
    r = client(protocol=protocol, decode_responses=True)
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.get(f"account:{number % 4 + 1}")
        replies = pipe.execute()
    assert [row(reply)["id"] for reply in replies] == [number % 4 + 1 for number in range(1000)]
    with r.pipeline(transaction=False) as pipe:
        replies = pipe.get("account:1").set("account:1", "x").get("account:3").execute(raise_on_error=False)
    assert row(replies[0])["id"] == 1 and row(replies[2])["id"] == 3, "an error harms only its own command"
    assert isinstance(replies[1], redis.ResponseError)


def test_pool_shared_by_threads(protocol):
    pool = redis.ConnectionPool(host=HOST, port=int(PORT), max_connections=8, protocol=protocol)
    wrong = []

    def read(account):
        shared = redis.Redis(connection_pool=pool)
        for _ in range(200):
            if row(shared.get(f"account:{account}"))["id"] != account:
                wrong.append(account)

    threads = [threading.Thread(target=read, args=(number % 4 + 1,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"answers of other keys: {wrong}"
    pool.disconnect()


def test_plain_reads_follow_other_programs(protocol):
    r = client(protocol=protocol, decode_responses=True)
    for balance in (1, 2, 3):
        set_balance(4, balance)
        eventually(lambda: row(r.get("account:4"))["balance"], balance)
    assert r.get("account:405") is None
    write("INSERT INTO account VALUES (405, 'Found', 7)")
    eventually(lambda: row(r.get("account:405")), {"id": 405, "owner": "Found", "balance": 7})
    write("DELETE FROM account WHERE id = 405")
    eventually(lambda: r.get("account:405"), None)


def test_reads_with_a_token_reflect_the_write_at_once(protocol):
    r = client(protocol=protocol, decode_responses=True)
    for balance in range(100, 150):
        set_balance(4, balance)
        token = r.execute_command("TRUEUP.TOKEN")
        value, _version, age_ms, served_by = r.execute_command("TRUEUP.GET", "account", "4", "TOKEN", token)
        assert row(value)["balance"] == balance
        assert age_ms >= 0 and served_by in ORIGINS, (age_ms, served_by)


def test_reads_with_evidence(protocol):
    r = client(protocol=protocol, decode_responses=True)
    value, _version, age_ms, served_by = r.execute_command("TRUEUP.GET", "account", "404", "MAXSTALE", 100)
    assert value is None and age_ms <= 100 and served_by in ORIGINS
    r.get("account:1")
    read = lambda: r.execute_command("TRUEUP.GET", "account", "1", "MAXSTALE", 1000)[3]
    eventually(read, "l1")
    replies = r.execute_command("TRUEUP.MGET", "account", 3, "1", "404", "3", "CONSISTENT")
    assert [found and found["id"] for found in (row(reply[0]) for reply in replies)] == [1, None, 3]


def test_mistakes_are_explained(protocol):
    r = client(protocol=protocol, decode_responses=True)
    refused(lambda: r.set("account:1", "x"))
    refused(lambda: r.get("nosuchclass:1"), "known: account")
    refused(lambda: r.get("account:seven"))
    refused(lambda: r.execute_command("NOSUCHCOMMAND"), "NOSUCHCOMMAND")
    refused(lambda: client(protocol=protocol, db=1).ping())
    refused(lambda: client(protocol=2, password="wrong").ping())
    assert r.ping(), "the connection lives on"


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for protocol in (2, 3):
        for name, test in tests:
            test(protocol)
            print(f"redis-py, RESP{protocol}: {name.removeprefix('test_').replace('_', ' ')}")


if __name__ == "__main__":
    main()
