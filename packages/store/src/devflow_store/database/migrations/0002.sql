-- What the HTTP gateway keeps beside the ledger.
CREATE TABLE client_keys (
  id TEXT PRIMARY KEY,
  hash $BYTES NOT NULL,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  scopes TEXT NOT NULL,
  created_us $INT NOT NULL,
  expires_us $INT,
  revoked_us $INT
) $STRICT;
CREATE UNIQUE INDEX client_keys_hash ON client_keys (hash);

CREATE TABLE idempotency (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  token TEXT NOT NULL,
  state TEXT NOT NULL,
  lease_until_us $INT NOT NULL,
  expires_us $INT NOT NULL,
  payload $BYTES,
  PRIMARY KEY (scope, key)
) $STRICT;
CREATE INDEX idempotency_expires ON idempotency (expires_us);

CREATE TABLE nodes (
  task_name TEXT PRIMARY KEY,
  config TEXT NOT NULL
) $STRICT;
