#!/usr/bin/env bash
# redis-cli against a running server. TRUEUP_RESP is its address, TRUEUP_DB the SQLite file it serves.
set -euo pipefail

host=${TRUEUP_RESP%:*}
port=${TRUEUP_RESP##*:}
deadline_s=10

cli() { redis-cli -h "$host" -p "$port" "$@"; }
sql() { sqlite3 -cmd '.timeout 5000' "$TRUEUP_DB" "$1"; }

failed() {
    printf 'redis-cli: %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3" >&2
    exit 1
}
is() { [[ $3 == "$2" ]] || failed "$1" "$2" "$3"; }
has() { [[ $3 == *"$2"* ]] || failed "$1" "*$2*" "$3"; }
# Tries until the fact is there: what is waited for is the fact, never an amount of time.
until_has() {
    local what=$1 wanted=$2 got
    local end=$((SECONDS + deadline_s))
    shift 2
    while got=$(cli "$@"); [[ $got != *"$wanted"* ]]; do
        ((SECONDS < end)) || failed "$what, within $deadline_s s" "*$wanted*" "$got"
    done
}

is 'PING' 'PONG' "$(cli PING)"
is 'PING with a message' 'hello' "$(cli PING hello)"
has 'INFO' 'redis_version:' "$(cli INFO)"
is 'SELECT 0' 'OK' "$(cli SELECT 0)"
has 'SELECT 1' 'ERR' "$(cli SELECT 1)"
has 'HELLO 3' 'proto' "$(cli HELLO 3)"
is 'RESP3' 'PONG' "$(cli -3 PING)"
has 'COMMAND COUNT is a number' 'integer' "$(cli --no-raw COMMAND COUNT)"

sql "UPDATE account SET balance = 100000 WHERE id = 1; UPDATE account SET balance = 250 WHERE id = 2;"
until_has 'a row by its primary key' '"balance":100000' GET account:1
has 'text beyond ASCII' '"owner":"Božena"' "$(cli --raw GET account:2)"
has 'a text key' '"city":"Praha"' "$(cli GET branch:PRG)"
has 'a composite key' '"role":"reader"' "$(cli GET mandate:1,charles)"
is 'an absent row is nil' '(nil)' "$(cli --no-raw GET account:404)"

many=$(cli --no-raw MGET account:1 account:404 account:2)
has 'MGET keeps the order: first' '1) "{\"id\":1' "${many//, /,}"
has 'MGET keeps the order: second' '2) (nil)' "$many"
has 'MGET keeps the order: third' '3) "{\"id\":2' "${many//, /,}"

is 'EXISTS counts' '2' "$(cli EXISTS account:1 account:404 account:2)"
is 'TTL of an absent row' '-2' "$(cli TTL account:404)"
[[ $(cli TTL account:1) =~ ^(-1|[0-9]+)$ ]] || failed 'TTL of a row' '-1 or seconds' "$(cli TTL account:1)"

[[ $(cli DEL account:1) =~ ^[01]$ ]] || failed 'DEL counts what was cached' '0 or 1' "$(cli DEL account:1)"
until_has 'DEL invalidates and the row is read again' '"balance":100000' GET account:1

has 'SET of a loaded class is refused' 'ERR' "$(cli SET account:1 x)"
has 'an unknown class is answered with the known ones' 'known: account, branch, mandate' "$(cli GET nosuchclass:1)"
has 'an unknown command is an error' 'ERR' "$(cli NOSUCHCOMMAND 2>&1)"

# A write by somebody else, seen by plain reads without a word to the cache.
sql "UPDATE account SET balance = balance + 1 WHERE id = 1;"
until_has 'an update by another program' '"balance":100001' GET account:1
# And at once with a token taken after it.
sql "UPDATE account SET balance = balance + 1 WHERE id = 1;"
token=$(cli TRUEUP.TOKEN)
has 'a read with a token reflects the write' '"balance":100002' "$(cli TRUEUP.GET account 1 TOKEN "$token")"
sql "INSERT INTO account VALUES (404, 'Found', 7);"
until_has 'a row that was absent' '"owner":"Found"' GET account:404
sql "DELETE FROM account WHERE id = 404;"
until_has 'a row that is gone' '(nil)' --no-raw GET account:404

piped=$(printf 'PING\nGET branch:BRQ\nEXISTS branch:BRQ\n' | cli)
has 'commands on standard input: first' 'PONG' "$piped"
has 'commands on standard input: second' '"city":"Brno"' "$piped"

requests=1000
mass=$(for ((i = 0; i < requests; i++)); do printf '*2\r\n$3\r\nGET\r\n$9\r\naccount:%d\r\n' $((i % 4 + 1)); done | cli --pipe)
has 'pipe mode answers each request' "errors: 0, replies: $requests" "$mass"

echo 'redis-cli: all held'
