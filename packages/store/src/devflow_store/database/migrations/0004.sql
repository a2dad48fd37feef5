-- What reports add up: the calls of one day with the same labels in one row, from which they are
-- derived. They hold the calls up to row `summed.seq` of the chain; later ones are added in groups.
CREATE TABLE summed (seq $INT NOT NULL) $STRICT;
INSERT INTO summed (seq) VALUES (0);
CREATE TABLE day_sums (
  labels $INT NOT NULL,
  day $INT NOT NULL,
  -- All of its calls lie between these rows of the chain, and none cost more than `max_pico`.
  first_seq $INT NOT NULL,
  last_seq $INT NOT NULL,
  max_pico $INT NOT NULL,
  calls $INT NOT NULL,
  requests $INT NOT NULL,
  hits $INT NOT NULL,
  attempts $INT NOT NULL,
  estimated_pico $INT NOT NULL,
  doubts $INT NOT NULL,
  cost_pico $INT NOT NULL,
  input_tokens $INT NOT NULL,
  cache_read_tokens $INT NOT NULL,
  cache_write_tokens $INT NOT NULL,
  cache_write_1h_tokens $INT NOT NULL,
  output_tokens $INT NOT NULL,
  reasoning_tokens $INT NOT NULL,
  retry_cost_pico $INT NOT NULL,
  retry_input_tokens $INT NOT NULL,
  retry_cache_read_tokens $INT NOT NULL,
  retry_cache_write_tokens $INT NOT NULL,
  retry_cache_write_1h_tokens $INT NOT NULL,
  retry_output_tokens $INT NOT NULL,
  retry_reasoning_tokens $INT NOT NULL,
  -- Histograms: five bytes a bucket, its number and how many calls are in it.
  ttft $BYTES NOT NULL,
  total $BYTES NOT NULL,
  PRIMARY KEY (labels, day)
) $CLUSTERED;
-- Calls by the row of the chain they come from, whatever their labels.
CREATE INDEX calls_seq ON calls (seq);
