-- Bodies of starts and entries may be packed from here on: older programs must not read them.

-- One tree for the attempts of open requests, in the order in which requests are closed.
ALTER TABLE open_attempts RENAME TO former_attempts;
CREATE TABLE open_attempts (
  entry_id TEXT NOT NULL,
  seq $INT NOT NULL,
  owner TEXT NOT NULL,
  PRIMARY KEY (entry_id, seq)
) $CLUSTERED;
INSERT INTO open_attempts (entry_id, seq, owner) SELECT entry_id, seq, owner FROM former_attempts;
DROP TABLE former_attempts;
