-- $BYTES, $INT, $STRICT and $CLUSTERED are put in by schema.py for each database.
CREATE TABLE store_schema (version $INT NOT NULL) $STRICT;
INSERT INTO store_schema (version) VALUES (0);

-- The chain: append-only, each row sealed by the hash of all rows before it.
-- Only `body` may ever change, to NULL, when a person asks for deletion; `digest` then stays.
CREATE TABLE chain (
  seq $INT PRIMARY KEY,
  kind $INT NOT NULL,
  key TEXT NOT NULL,
  ref $INT,
  at_us $INT NOT NULL,
  body $BYTES,
  digest $BYTES,
  hash $BYTES NOT NULL
) $STRICT;
CREATE UNIQUE INDEX chain_key ON chain (key);
CREATE INDEX chain_ref ON chain (ref) WHERE ref IS NOT NULL;
CREATE INDEX chain_entries ON chain (at_us) WHERE kind = 2;

-- Who and what a call was for. `id` is derived from the other columns; '' is "not known".
CREATE TABLE labels (
  id $INT PRIMARY KEY,
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  task TEXT NOT NULL,
  session TEXT NOT NULL,
  project TEXT NOT NULL,
  branch TEXT NOT NULL,
  agent TEXT NOT NULL,
  client_key TEXT NOT NULL,
  node TEXT NOT NULL,
  error TEXT NOT NULL
) $STRICT;
CREATE INDEX labels_session ON labels (session);

-- One row per attempt (number 0: a request that asked nobody), for reports; derived from the chain.
-- Rows of the same labels lie together, so that a report over a million reads them in order.
CREATE TABLE calls (
  labels $INT NOT NULL,
  seq $INT NOT NULL,
  number $INT NOT NULL,
  at_us $INT NOT NULL,
  is_final $INT NOT NULL,
  is_cache_hit $INT NOT NULL,
  cost_pico $INT NOT NULL,
  cost_status $INT NOT NULL,
  input_tokens $INT NOT NULL,
  cache_read_tokens $INT NOT NULL,
  cache_write_tokens $INT NOT NULL,
  cache_write_1h_tokens $INT NOT NULL,
  output_tokens $INT NOT NULL,
  reasoning_tokens $INT NOT NULL,
  ttft_bucket $INT,
  total_bucket $INT,
  PRIMARY KEY (labels, seq, number)
) $CLUSTERED;
CREATE INDEX calls_estimated ON calls (at_us) WHERE cost_status = 1;

-- Attempts that were begun and whose request is not closed yet, and who is at it.
CREATE TABLE open_attempts (
  attempt_id TEXT PRIMARY KEY,
  entry_id TEXT NOT NULL,
  seq $INT NOT NULL,
  owner TEXT NOT NULL
) $CLUSTERED;
CREATE INDEX open_attempts_entry ON open_attempts (entry_id);
CREATE TABLE owners (
  owner TEXT PRIMARY KEY,
  alive_until_us $INT NOT NULL
) $CLUSTERED;

CREATE TABLE budgets (
  id TEXT PRIMARY KEY,
  body TEXT NOT NULL
) $STRICT;
-- What was spent and is reserved of one budget, by one subject, in one period.
CREATE TABLE accounts (
  budget TEXT NOT NULL,
  subject TEXT NOT NULL,
  start_us $INT NOT NULL,
  spent_pico $INT NOT NULL,
  reserved_pico $INT NOT NULL,
  unpriced $INT NOT NULL,
  alerted $INT NOT NULL,
  PRIMARY KEY (budget, subject, start_us)
) $CLUSTERED;
CREATE TABLE holds (
  entry_id TEXT NOT NULL,
  attempt_id TEXT NOT NULL,
  budget TEXT NOT NULL,
  subject TEXT NOT NULL,
  start_us $INT NOT NULL,
  pico $INT NOT NULL,
  unpriced $INT NOT NULL,
  PRIMARY KEY (entry_id, attempt_id, budget)
) $CLUSTERED;
