#!/bin/sh
# As the official image does it: a cluster of POSTGRES_USER's in /var/lib/postgresql/data, with a database of that name.
set -eu
data=/var/lib/postgresql/data
chown postgres: "$data"
chmod 700 "$data"
as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if ! [ -s "$data/PG_VERSION" ]; then
    password=$(mktemp)
    printf '%s' "$POSTGRES_PASSWORD" > "$password"
    chown postgres "$password"
    as initdb --username="$POSTGRES_USER" --pwfile="$password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync "$data"
    rm "$password"
    echo "CREATE DATABASE \"$POSTGRES_USER\"" | as postgres --single -D "$data" postgres
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    echo "local all all trust" > "$data/pg_hba.new" && cat "$data/pg_hba.conf" >> "$data/pg_hba.new"
    mv "$data/pg_hba.new" "$data/pg_hba.conf"
fi
mkdir -p /var/run/postgresql
chown postgres /var/run/postgresql
exec setpriv --reuid=postgres --regid=postgres --init-groups postgres -D "$data" -c "listen_addresses=*"
