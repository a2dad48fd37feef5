-- A process counts its signs of life; whoever watches it measures its silence by a clock of its own.
DROP TABLE owners;
CREATE TABLE owners (
  owner TEXT PRIMARY KEY,
  beats $INT NOT NULL,
  process TEXT NOT NULL
) $CLUSTERED;

-- A claim is its owner's and its entry's. Who was at those of before is not known.
ALTER TABLE idempotency RENAME COLUMN token TO entry_id;
ALTER TABLE idempotency DROP COLUMN lease_until_us;
ALTER TABLE idempotency ADD COLUMN owner TEXT NOT NULL DEFAULT '';
UPDATE idempotency SET state = 'unknown', entry_id = '' WHERE state = 'in flight';
CREATE INDEX idempotency_entry ON idempotency (entry_id);
CREATE INDEX idempotency_open ON idempotency (owner) WHERE state = 'in flight';
