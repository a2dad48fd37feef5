-- $BYTES, $SEQ, $STRICT and $CLUSTERED are put in by schema.py for each database.
CREATE TABLE store_schema (version $SEQ NOT NULL) $STRICT;
INSERT INTO store_schema (version) VALUES (0);

-- The chain: append-only, each row sealed by the hash of all rows before it.
-- Only `body` may ever change, to NULL, when a person asks for deletion; `digest` then stays.
CREATE TABLE chain (
  seq $SEQ PRIMARY KEY,
  kind $SEQ NOT NULL,
  key TEXT NOT NULL,
  ref $SEQ,
  at_us $SEQ NOT NULL,
  body $BYTES,
  digest $BYTES,
  hash $BYTES NOT NULL
) $STRICT;
CREATE UNIQUE INDEX chain_key ON chain (key);
CREATE INDEX chain_ref ON chain (ref) WHERE ref IS NOT NULL;
CREATE INDEX chain_entries ON chain (at_us) WHERE kind = 2;
